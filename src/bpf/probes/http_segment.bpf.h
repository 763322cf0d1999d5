// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/l7.bpf.h"
#include "http_count.bpf.h"

/* A segment of a stream, and the position in it. */
#define HTTP_SKIP_MAX (1U << 30) /* bytes; sequence numbers are compared as signed 32-bit differences */

/* The part of a segment that is still wanted. */
struct http_part {
	__u64 now;
	__u32 start, position, end; /* offsets in the packet or in the kept segment */
	__u32 seq, ack;
	__u8 direction;
	__u8 is_response;
	__u8 marks; /* enum l7_mark */
	__u8 tcp_flags;
};

struct http_segment {
	struct __sk_buff *skb;
	const struct l7_segment *kept; /* bytes of a segment that had to wait; NULL for those of the packet */
	struct http_connection *connection;
	struct l7_connection *base;
	struct http_part *part;
};

static __always_inline struct http_stream *http_stream_of(const struct http_segment *segment)
{
	struct http_stream *stream = &segment->connection->requests + HTTP_MASK(segment->part->is_response, 1);

	barrier_var(stream);
	return stream;
}

/* Sets the sequence number of the next byte that matters in a direction. */
static __always_inline void http_want(struct http_segment *segment, struct http_stream *stream, __u8 direction,
				      __u32 seq)
{
	struct l7_stream *base = l7_stream_of(segment->base, direction);

	base->next = stream->turn.next = seq;
	base->is_known = stream->turn.is_placed = 1;
}

/* Returns the sequence number of the next byte to read. */
static __always_inline __u32 http_seq(const struct http_segment *segment)
{
	return segment->part->seq + (segment->part->position - segment->part->start);
}

/* Returns the sequence number of the byte after the segment. */
static __always_inline __u32 http_end_seq(const struct http_part *part)
{
	return part->seq + (part->end - part->start);
}

static __always_inline void http_start_message(struct http_stream *stream)
{
	stream->mode = MODE_START;
	stream->kept = stream->is_inside = stream->has_trace = 0;
}

/* Skips the segment and what comes after it. */
static __always_inline void http_skip_far(struct http_segment *segment, struct http_stream *stream, __u8 mode)
{
	stream->mode = mode;
	stream->kept = stream->is_inside = stream->has_trace = 0;
	http_want(segment, stream, segment->part->direction, http_end_seq(segment->part) + HTTP_SKIP_MAX);
	segment->part->position = segment->part->end;
}

/*
 * Notes that the position in the stream is no longer known. If a client sends each request after it has received the
 * response to the previous one, its next request ends this state. Otherwise, it is not known how many requests or
 * responses are missing, so the status of all further requests of the connection is unknown.
 */
static __always_inline void http_lose(struct http_segment *segment, struct http_stream *stream, __u8 cause)
{
	struct http_connection *connection = segment->connection;

	if (connection->is_pipelined && !connection->unsure)
		connection->unsure = cause;
	stream->cause = cause;
	if (segment->part->is_response) {
		http_skip_far(segment, stream, MODE_LOST);
		return;
	}
	stream->mode = MODE_LOST;
	stream->kept = stream->is_inside = stream->has_trace = 0;
	segment->part->position = segment->part->end;
	http_count(connection, OUTCOME_STRAY, METHOD_OTHER, cause);
}

static __always_inline void http_give_up(struct http_segment *segment)
{
	segment->base->protocol = L7_OTHER;
	segment->part->position = segment->part->end;
	http_count(segment->connection, OUTCOME_GIVEN_UP, METHOD_OTHER, CAUSE_NOTHING);
}

/* Skips a part of a body. The stream's mode is that after the part. */
static __always_inline void http_skip(struct http_segment *segment, struct http_stream *stream, __u64 length)
{
	__u64 left = segment->part->end - segment->part->position, beyond, near;

	if (length <= left) {
		segment->part->position += length;
		return;
	}
	beyond = length - left;
	near = beyond < HTTP_SKIP_MAX ? beyond : HTTP_SKIP_MAX;
	segment->part->position = segment->part->end;
	http_want(segment, stream, segment->part->direction, http_seq(segment) + (__u32)near);
	stream->rest = beyond - near;
	stream->mode = MODE_BODY;
}
