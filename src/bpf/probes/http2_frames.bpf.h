// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2_block.bpf.h"

/* Walks the frames of a direction. Payloads that are not needed are skipped without reading them. */
#define HTTP2_STEPS_MAX 16384 /* frames and parts of header blocks that are read in one segment */
#define HTTP2_HEAD 9 /* bytes */

enum http2_frame {
	FRAME_DATA,
	FRAME_HEADERS,
	FRAME_PRIORITY,
	FRAME_RST_STREAM,
	FRAME_SETTINGS,
	FRAME_PUSH_PROMISE,
	FRAME_PING,
	FRAME_GOAWAY,
	FRAME_WINDOW_UPDATE,
	FRAME_CONTINUATION,
};

static __always_inline long http2_load(const struct http2_segment *segment, void *to, __u32 length)
{
	const struct l7_segment *kept = segment->kept;

	if (!kept)
		return bpf_skb_load_bytes(segment->skb, segment->part->position, to, length);
	return bpf_probe_read_kernel(to, length, kept->bytes + HTTP_MASK(segment->part->position, 16383));
}

static __always_inline __u32 http2_u32(const __u8 *bytes)
{
	__u32 number;

	__builtin_memcpy(&number, bytes, sizeof(number));
	return bpf_ntohl(number);
}

/* Returns the number of bytes between the header of a frame and its payload that have to be read. */
static __always_inline __u32 http2_extra(__u8 type, __u8 flags)
{
	__u32 padding = flags & HTTP2_PADDED ? 1 : 0;

	if (type == FRAME_HEADERS)
		return padding + (flags & HTTP2_PRIORITY ? 5 : 0);
	if (type == FRAME_PUSH_PROMISE)
		return padding + 4;
	return type == FRAME_GOAWAY ? 4 : 0;
}

/* Skips bytes, which may go beyond the segment. */
static __always_inline void http2_skip(struct http2_segment *segment, __u32 length)
{
	__u32 left = segment->part->end - segment->part->position;

	if (length > left) {
		segment->part->beyond += length - left;
		length = left;
	}
	segment->part->position += length;
}

/* The fragment of a header block has been read to its end. */
static __always_inline void http2_end_fragment(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 padding = direction->padding;

	direction->padding = 0;
	if (direction->flags & HTTP2_END_HEADERS) {
		if (direction->kept || direction->rest || direction->mode != AT_FIELD) {
			http2_lose(segment->connection, segment->part->is_response, CAUSE_UNREADABLE);
			return;
		}
		http2_end_block(segment->connection, segment->part->is_response);
	}
	direction->resumes = direction->mode;
	direction->mode = AT_FRAME;
	http2_skip(segment, padding);
}

/* Starts a header block, or continues it. Returns false if that is not possible. */
static __always_inline bool http2_start_fragment(struct http2_direction *direction, __u32 extra)
{
	bool continues = direction->type == FRAME_CONTINUATION;
	__u32 padding = !continues && direction->flags & HTTP2_PADDED ? direction->head[HTTP2_HEAD] : 0;

	if (direction->has_block != continues || extra + padding > direction->length ||
	    (continues && direction->stream != direction->block_stream))
		return false;
	direction->fragment = direction->length - extra - padding;
	direction->padding = padding;
	if (continues) {
		direction->mode = direction->resumes;
		return true;
	}
	direction->mode = AT_FIELD;
	direction->has_block = 1;
	direction->block_stream = direction->stream;
	direction->block_ends_stream = direction->flags & HTTP2_END_STREAM;
	direction->is_promise = direction->type == FRAME_PUSH_PROMISE;
	__builtin_memset(direction->found, 0, sizeof(direction->found));
	return true;
}

/*
 * The header of a frame is complete. A global function, so that the verifier checks it once.
 * @param extra bytes of the payload that were read with it
 * @return number of further bytes to skip; -1 if the frame must not be here
 */
__noinline int http2_start_frame(struct http2_connection *connection, bool is_response, __u32 extra)
{
	struct http2_direction *direction;
	__u8 type;

	if (!connection)
		return 0;
	direction = http2_direction_of(connection, is_response);
	type = direction->type;
	if (type == FRAME_HEADERS || type == FRAME_PUSH_PROMISE || type == FRAME_CONTINUATION)
		return http2_start_fragment(direction, extra) ? 0 : -1;
	if (direction->has_block)
		return -1;
	if (type == FRAME_RST_STREAM)
		http2_end(connection, direction->stream, is_response ? END_RESET : END_CANCELLED, CAUSE_NOTHING);
	else if (type == FRAME_DATA && is_response && direction->flags & HTTP2_END_STREAM)
		http2_end(connection, direction->stream, END_COMPLETE, direction->cause);
	else if (type == FRAME_GOAWAY && is_response)
		/* The server does not process streams after the last one that it names. */
		http2_end_all(connection, http2_u32(direction->head + HTTP2_HEAD) & ~(1U << 31), END_GOAWAY,
			      CAUSE_NOTHING);
	return direction->length - extra;
}

/*
 * Returns whether nine bytes may be the header of a frame.
 * @param last highest stream that may be in use
 */
static __always_inline bool http2_is_frame(const __u8 *head, __u32 last)
{
	__u32 length = http2_u32(head) >> 8, stream = http2_u32(head + 5);
	__u8 type = head[3], flags = head[4];

	if (length > 1 << 14 || type > FRAME_CONTINUATION || stream > last)
		return false;
	if (type == FRAME_SETTINGS || type == FRAME_PING || type == FRAME_GOAWAY)
		return !stream && !(flags & ~1) && (type != FRAME_PING || length == 8) &&
		       (type != FRAME_SETTINGS || length % 6 == 0);
	if (type == FRAME_WINDOW_UPDATE)
		return !flags && length == 4;
	if (!stream)
		return false;
	if (type == FRAME_DATA)
		return !(flags & ~(HTTP2_END_STREAM | HTTP2_PADDED));
	if (type == FRAME_HEADERS)
		return length && !(flags & ~(HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_PRIORITY));
	return !flags && ((type == FRAME_RST_STREAM && length == 4) || (type == FRAME_PRIORITY && length == 5));
}

#define HTTP2_AHEAD 4096 /* numbers by which a stream may be ahead of the last one that is known */

/* Bytes are missing. Goes on if the segment begins with a frame. Returns whether it does. */
static __always_inline bool http2_find_frame(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 last = segment->connection->last;

	if (segment->part->end - segment->part->position < HTTP2_HEAD ||
	    http2_load(segment, direction->head, HTTP2_HEAD) ||
	    !http2_is_frame(direction->head, last ? last + HTTP2_AHEAD : ~0U >> 1))
		return false;
	direction->mode = AT_FRAME;
	return true;
}

/* Reads the header of a frame. Returns false if it cannot be one. */
static __always_inline bool http2_read_frame(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 kept = direction->head_kept, wanted = kept >= HTTP2_HEAD ? direction->head_wanted : HTTP2_HEAD;
	__u32 taken = wanted - kept, left = segment->part->end - segment->part->position, extra;
	int skipped;

	if (taken > left)
		taken = left;
	if (!kept && !direction->has_block) {
		direction->begun = segment->part->now;
		direction->block_seq = segment->part->seq + (segment->part->position - segment->part->start);
	}
	if (http2_load(segment, direction->head + HTTP_MASK(kept, 15), HTTP_MASK(taken - 1, 15) + 1))
		return false;
	segment->part->position += taken;
	kept += taken;
	direction->head_kept = kept;
	if (kept < wanted)
		return true;
	if (wanted == HTTP2_HEAD) {
		direction->length = http2_u32(direction->head) >> 8;
		direction->type = direction->head[3];
		direction->flags = direction->head[4];
		direction->stream = http2_u32(direction->head + 5) & ~(1U << 31);
		extra = http2_extra(direction->type, direction->flags);
		if (extra > direction->length)
			return false;
		if (extra) {
			direction->head_wanted = HTTP2_HEAD + extra;
			return true;
		}
	}
	direction->head_kept = 0;
	segment->part->in_window = 0;
	skipped = http2_start_frame(segment->connection, segment->part->is_response, wanted - HTTP2_HEAD);
	if (skipped < 0)
		return false;
	http2_skip(segment, skipped);
	return true;
}

/* Skips what is left of a string in the fragment. */
static __always_inline void http2_skip_rest(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 skipped = direction->rest < direction->fragment ? direction->rest : direction->fragment;

	direction->rest -= skipped;
	direction->fragment -= skipped;
	http2_skip(segment, skipped);
}

/* Fills the buffer from the position on, behind the bytes that it keeps. Returns the number of new bytes; 0 on failure.
 */
static __always_inline __u32 http2_fill(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 kept = direction->kept, taken = segment->part->end - segment->part->position;

	if (taken > direction->fragment)
		taken = direction->fragment;
	if (kept >= HTTP2_WINDOW || !taken)
		return 0;
	if (taken > HTTP2_WINDOW - kept)
		taken = HTTP2_WINDOW - kept;
	if (http2_load(segment, direction->buffer + HTTP_MASK(kept, 63), HTTP_MASK(taken - 1, 63) + 1))
		return 0;
	segment->part->window = segment->part->position - kept;
	segment->part->in_window = kept + taken;
	return taken;
}

/* Reads a part of a header block: the beginning of a field, a name or a value. Returns false if it is not valid. */
static __always_inline bool http2_read_part(struct http2_segment *segment, struct http2_direction *direction)
{
	__u32 kept = direction->kept, at = segment->part->position - segment->part->window, taken = 0, length, used;

	if (kept || at >= segment->part->in_window || at >= HTTP2_WINDOW) {
		taken = http2_fill(segment, direction);
		if (!taken)
			return false;
		at = 0;
	}
	length = segment->part->in_window - at;
	used = direction->mode == AT_FIELD
		       ? http2_read_field(segment->connection, segment->part->is_response, at, length)
		       : http2_read_string(segment->connection, segment->part->is_response, at, length);
	if (used >= HTTP2_INCOMPLETE)
		return false;
	if (used > length) {
		/* The window ends within the part. */
		segment->part->in_window = 0;
		if (at)
			return true;
		direction->kept = length;
	} else {
		taken = used - kept;
		direction->kept = 0;
	}
	segment->part->position += taken;
	direction->fragment -= taken;
	return true;
}

/*
 * Reads a frame's header or a part of a header block. Returns 1 at the end of the segment, as a callback of bpf_loop().
 */
static long http2_step(__u64 index, struct http2_segment *segment)
{
	struct http2_part *part = segment->part;
	struct http2_direction *direction;
	bool is_valid = true;

	if (!segment->connection || !part || part->position >= part->end)
		return 1;
	direction = http2_direction_of(segment->connection, part->is_response);
	if (direction->mode == AT_NOWHERE) {
		part->position = part->end;
		return 1;
	}
	if (direction->mode == AT_FRAME)
		is_valid = http2_read_frame(segment, direction);
	else if (direction->rest)
		http2_skip_rest(segment, direction);
	else
		is_valid = http2_read_part(segment, direction);
	if (!is_valid)
		http2_lose(segment->connection, part->is_response, CAUSE_UNREADABLE);
	if (direction->mode < AT_NOWHERE && direction->mode != AT_FRAME && !direction->fragment)
		http2_end_fragment(segment, direction);
	return 0;
}
