// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http_lines.bpf.h"

/* Reads a segment in windows. A window begins with a line, or continues one, and may have further lines behind it. */
static __always_inline bool http_is_done(const struct http_segment *segment)
{
	return segment->part->position >= segment->part->end || segment->base->protocol == L7_OTHER;
}

#define HTTP_PROXY_HEADER 16 /* bytes of the header of the PROXY protocol, version 2, before the addresses */

/*
 * The connection may begin with a header of the PROXY protocol, version 2, whose signature starts with an empty line.
 */
static __always_inline bool http_may_be_proxied(const struct http_segment *segment, const struct http_stream *stream)
{
	return stream->mode == MODE_START && !segment->part->is_response && !segment->connection->asked &&
	       stream->line[0] == '\r';
}

static __always_inline bool http_is_proxied(const struct http_stream *stream)
{
	return http_word(stream->line) == HTTP_WORD('\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q');
}

/* Returns whether a header may be one that http_read_header() reads. @param first first eight bytes of the line */
static __always_inline bool http_may_matter(__u64 first)
{
	first |= HTTP_LOWER;
	return first == HTTP_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') ||
	       first == HTTP_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') ||
	       first == HTTP_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':') || (keeps_traces && http_may_be_trace(first));
}

#define HTTP_SKIPPED_MAX 7 /* further lines that are examined in a window */

/*
 * Skips the headers that do not matter and are complete in the window, after a line has ended in it.
 * @param newlines bits of the window's newlines
 * @param newline index of the one at the end of the line
 */
static __always_inline void http_skip_headers(struct http_segment *segment, struct http_stream *stream, __u64 newlines,
					      __u32 newline)
{
	for (int line = 0; line < HTTP_SKIPPED_MAX; line++) {
		__u64 start = newline + 1;

		newlines &= newlines - 1;
		newline = http_lowest(newlines);
		if (!newlines || http_may_matter(http_word(stream->line + HTTP_MASK(start, 63))))
			return;
		segment->part->position += newline + 1 - start;
		if (newline == start || (newline == start + 1 && stream->line[HTTP_MASK(start, 63)] == '\r')) {
			http_end_headers(segment, stream);
			return;
		}
	}
}

/*
 * Uses the window in `line`, which contains the end of a line or is full.
 * @param newlines bits of the window's newlines
 * @param newline index of the first one
 * @param taken bytes that are new in the window
 */
static __always_inline void http_use_window(struct http_segment *segment, struct http_stream *stream, __u64 newlines,
					    __u32 newline, __u32 taken)
{
	__u32 before = stream->kept;

	if (!stream->is_inside) {
		if (stream->mode != MODE_CHUNK && (!newline || (newline == 1 && stream->line[0] == '\r'))) {
			segment->part->position += newline + 1 - before;
			stream->kept = 0;
			if (stream->mode == MODE_HEADER)
				http_end_headers(segment, stream);
			else
				http_start_message(stream);
			return;
		}
		http_begin_line(segment, stream);
		if (http_is_done(segment))
			return;
	} else if (stream->has_trace) {
		http_continue_trace(&segment->connection->trace, stream->line + HTTP_TAIL);
	}
	if (newline == HTTP_WINDOW) {
		stream->kept = 0;
		if (stream->mode == MODE_FIRST || stream->has_coding || stream->has_trace) {
			__builtin_memcpy(stream->line, stream->line + HTTP_WINDOW - HTTP_TAIL, HTTP_TAIL);
			stream->kept = HTTP_TAIL;
		}
		stream->is_inside = 1;
		segment->part->position += taken;
		return;
	}
	segment->part->position += newline + 1 - before;
	stream->kept = stream->is_inside = stream->has_trace = 0;
	http_end_line(segment, stream, newline);
	if (stream->mode == MODE_HEADER && !http_is_done(segment))
		http_skip_headers(segment, stream, newlines, newline);
}

static __always_inline long http_load(const struct http_segment *segment, void *to, __u32 length)
{
	const struct l7_segment *kept = segment->kept;

	if (!kept)
		return bpf_skb_load_bytes(segment->skb, segment->part->position, to, length);
	return bpf_probe_read_kernel(to, length, kept->bytes + HTTP_MASK(segment->part->position, 16383));
}

/* Reads one window. Returns whether the segment needs no further reading. */
static __always_inline bool http_read_segment(struct http_segment *segment)
{
	struct http_stream *stream = http_stream_of(segment);
	__u32 kept, taken, newline;
	__u64 newlines;

	if (http_is_done(segment))
		return true;
	kept = stream->kept;
	taken = segment->part->end - segment->part->position;
	if (kept >= HTTP_WINDOW)
		return true;
	if (taken > HTTP_WINDOW - kept)
		taken = HTTP_WINDOW - kept;
	if (!kept && stream->mode == MODE_START)
		stream->begun = segment->part->now;
	if (http_load(segment, stream->line + HTTP_MASK(kept, 63), HTTP_MASK(taken - 1, 63) + 1)) {
		http_lose(segment, stream, CAUSE_UNREADABLE);
		return true;
	}
	/* Bytes behind those that were loaded are of an earlier window. */
	newlines = http_newlines(stream->line) & (~0ULL >> HTTP_MASK(HTTP_WINDOW - kept - taken, 63));
	newline = http_lowest(newlines);
	if (http_may_be_proxied(segment, stream)) {
		if (kept + taken < HTTP_PROXY_HEADER) {
			newline = HTTP_WINDOW;
		} else if (http_is_proxied(stream)) {
			stream->kept = 0;
			segment->part->position += HTTP_PROXY_HEADER - kept;
			http_skip(segment, stream, (__u32)stream->line[14] << 8 | stream->line[15]);
			return false;
		}
	}
	if (newline == HTTP_WINDOW && kept + taken < HTTP_WINDOW) {
		stream->kept = kept + taken;
		segment->part->position += taken;
		return true;
	}
	http_use_window(segment, stream, newlines, newline, taken);
	return http_is_done(segment);
}

/*
 * Reads one window. A global function, so that the verifier checks it once.
 * @param kept NULL if the bytes are those of the packet
 * @return 1 if the segment needs no further reading
 */
__noinline int http_read_window(struct __sk_buff *skb, struct http_part *part, struct http_connection *connection,
				struct l7_connection *base, const struct l7_segment *kept)
{
	struct http_segment segment = {
		.skb = skb,
		.part = part,
		.connection = connection,
		.base = base,
		.kept = kept,
	};

	return !part || !connection || !base || http_read_segment(&segment);
}

/* Reads the next window, as a callback of bpf_loop(). */
static long http_read_next(__u64 index, struct http_segment *segment)
{
	/* Masked, because the verifier does not know what a global function returns. */
	return HTTP_MASK(
		http_read_window(segment->skb, segment->part, segment->connection, segment->base, segment->kept), 1);
}
