// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2_report.bpf.h"
#include <stdbool.h>

/* Follows the streams of a connection from the request to the response or the end of the call, and counts them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct http2_stream_key);
	__type(value, struct http2_stream);
} http2_streams SEC(".maps");

/* Number of streams in the map, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} http2_followed SEC(".maps");

const volatile __u32 owner_streams = 1024; /* maximum number of streams of a slot */

/* Counts requests or something else that has no duration. A global function, so that the verifier checks it once. */
__noinline int http2_add(const struct http2_connection *connection, __u64 number, __u64 count)
{
	struct place_key key = {};
	struct http_row *row;

	if (!connection)
		return 0;
	key.netns = connection->netns;
	key.cgroup = connection->cgroup;
	key.detail = number;
	row = http_row_of(&key, connection->unlisted);
	if (row)
		__sync_fetch_and_add(&row->requests, count);
	return 0;
}

/* Counts requests that ended by their edge. A global function, so that the verifier checks it once. */
__noinline int http2_add_edge(const struct http2_connection *connection, __u32 outcome, __u32 count, __u64 duration)
{
	if (connection)
		request_count(&connection->edge, connection->unlisted, outcome, count, duration);
	return 0;
}

static __always_inline void http2_count(const struct http2_connection *connection, __u16 status, __u8 method,
					__u8 cause, __u64 count)
{
	http2_add(connection, http2_number_of(connection, status, method, cause), count);
}

/* Counts a request that is not followed. */
static __always_inline void http2_count_unknown(const struct http2_connection *connection, __u8 method, __u8 cause,
						__u64 count)
{
	http2_count(connection, OUTCOME_BEGUN, method, CAUSE_NOTHING, count);
	http2_count(connection, OUTCOME_UNKNOWN, method, cause, count);
	http2_add_edge(connection, REQUEST_UNREAD, count, 0);
}

#define HTTP2_MISSING_MAX 4096

/*
 * Counts the requests that were missed because bytes are missing. Clients number their streams consecutively.
 * @param until stream after the missing ones
 */
static __always_inline void http2_count_missing(struct http2_connection *connection, __u32 until)
{
	__u32 missing = (until - connection->last - 1) / 2;

	if (missing && missing <= HTTP2_MISSING_MAX)
		http2_count_unknown(connection, METHOD_OTHER, connection->gap, missing);
}

static __always_inline bool http2_take_stream(__u32 owner)
{
	__u32 *followed = bpf_map_lookup_elem(&http2_followed, &owner);

	if (!followed || *followed >= owner_streams)
		return false;
	__sync_fetch_and_add(followed, 1);
	return true;
}

static __always_inline void http2_give_back_stream(__u32 owner)
{
	__u32 *followed = bpf_map_lookup_elem(&http2_followed, &owner);

	if (followed)
		__sync_fetch_and_add(followed, -1);
}

struct http2_place {
	struct http2_connection *connection;
	__u32 stream, slot;
};

/* Takes a free slot, as a callback of bpf_loop(). Only requests take slots, and they are read one after another. */
static long http2_take_slot(__u64 index, struct http2_place *place)
{
	struct http2_connection *connection = place->connection;
	__u64 slot = HTTP_MASK((place->stream >> 1) + index, 255);

	if (!connection)
		return 1;
	if (connection->open[slot])
		return 0;
	connection->open[slot] = place->stream;
	place->slot = slot;
	return 1;
}

/* Adds a stream to those that are followed. Returns NULL if there is no room. */
static __always_inline struct http2_stream *http2_follow(struct http2_connection *connection, __u32 id)
{
	static const struct http2_stream zero = {};
	struct http2_stream_key key = {.connection = connection->cookie, .stream = id};
	struct http2_place place = {.connection = connection, .stream = id, .slot = HTTP2_OPEN_MAX};
	struct http2_stream *stream;

	if (!http2_take_stream(connection->owner))
		return NULL;
	bpf_loop(HTTP2_OPEN_MAX, http2_take_slot, &place, 0);
	if (place.slot < HTTP2_OPEN_MAX) {
		/* Filled in place, because it would take too much of the stack. */
		stream = bpf_map_update_elem(&http2_streams, &key, &zero, BPF_NOEXIST)
				 ? NULL
				 : bpf_map_lookup_elem(&http2_streams, &key);
		if (stream) {
			stream->slot = place.slot;
			return stream;
		}
		connection->open[HTTP_MASK(place.slot, 255)] = 0;
	}
	http2_give_back_stream(connection->owner);
	return NULL;
}

/* Counts that a request has begun, unless it has been counted or it is not certain that the connection is HTTP/2. */
static __always_inline void http2_count_begun(const struct http2_connection *connection, struct http2_stream *stream)
{
	if (stream->is_counted || connection->is_unsure)
		return;
	stream->is_counted = 1;
	http2_count(connection, OUTCOME_BEGUN, stream->method, CAUSE_NOTHING, 1);
}

/* Codes of gRPC that are errors of the server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED to DATA_LOSS. */
#define GRPC_FAILURES (1U << 2 | 1U << 4 | 1U << 12 | 1U << 13 | 1U << 14 | 1U << 15)

/* @param outcome code or enum grpc_outcome */
static __always_inline __u32 http2_outcome_of_call(__u8 outcome)
{
	if (!outcome)
		return REQUEST_OK;
	if (outcome == GRPC_UNSEEN)
		return REQUEST_UNREAD;
	if (outcome == GRPC_NONE || outcome == GRPC_RESET)
		return REQUEST_FAILED;
	return GRPC_FAILURES >> (outcome & 31) & 1 ? REQUEST_FAILED : REQUEST_DECLINED;
}

static __always_inline bool http2_is_reset(__u32 end)
{
	return end == END_RESET || end == END_CANCELLED || end == END_GOAWAY;
}

static __always_inline __u8 http2_code_of(const struct http2_stream *stream, __u32 end)
{
	if (http2_is_reset(end))
		return GRPC_RESET;
	if (end == END_UNKNOWN)
		return GRPC_UNSEEN;
	if (stream->code)
		return stream->code - 1;
	return stream->is_hidden ? GRPC_UNSEEN : GRPC_NONE;
}

/* A call of gRPC has ended. */
static __always_inline void http2_end_call(const struct http2_connection *connection, const struct http2_stream *stream,
					   __u32 end, __u8 cause)
{
	__u8 code = http2_code_of(stream, end);
	__u32 outcome = http2_outcome_of_call(code);
	__u64 number = grpc_number_of(connection, stream->name, code, code == GRPC_UNSEEN ? cause : CAUSE_NOTHING);
	__u64 now = bpf_ktime_get_ns(), duration = now > stream->begun ? now - stream->begun : 1;

	if (end == END_COMPLETE && keeps_exemplars && stream->trace.kind)
		http_keep_exemplar(&connection->edge, &stream->trace, RESULT_CALL, now, duration);
	if (outcome != REQUEST_UNREAD)
		http2_note(connection, stream, number, end | (outcome == REQUEST_FAILED) << 8,
			   stream->is_answered ? stream->duration : duration);
	if (end != END_COMPLETE)
		duration = 0;
	grpc_add(connection, number, duration);
	http2_add_edge(connection, outcome, 1, duration);
}

/* A request that is not a call of gRPC has been answered. */
static __always_inline void http2_end_answered(const struct http2_connection *connection,
					       const struct http2_stream *stream)
{
	__u32 status = stream->status;

	if (status)
		http2_note(connection, stream, http2_number_of(connection, status, stream->method, CAUSE_NOTHING),
			   END_COMPLETE | http_is_failure(status) << 8, stream->duration);
	http2_add_edge(connection, http_outcome_of(status ? status : OUTCOME_UNKNOWN), 1,
		       status ? stream->duration : 0);
}

/* A request has ended without an answer. @param is_call whether http2_end_call() follows */
static __always_inline void http2_end_unanswered(const struct http2_connection *connection,
						 const struct http2_stream *stream, __u32 end, __u8 cause, bool is_call)
{
	__u16 outcome = http2_is_reset(end) ? OUTCOME_RESET : end == END_NONE ? OUTCOME_NONE : OUTCOME_UNKNOWN;
	__u64 number, now;

	/* A response cannot end before it has begun. */
	if (end == END_COMPLETE)
		cause = CAUSE_UNREADABLE;
	number = http2_number_of(connection, outcome, stream->method,
				 outcome == OUTCOME_UNKNOWN ? cause : CAUSE_NOTHING);
	http2_add(connection, number, 1);
	if (is_call)
		return;
	if (outcome != OUTCOME_UNKNOWN) {
		now = bpf_ktime_get_ns();
		http2_note(connection, stream, number, end | 1 << 8, now > stream->begun ? now - stream->begun : 1);
	}
	http2_add_edge(connection, outcome == OUTCOME_UNKNOWN ? REQUEST_UNREAD : REQUEST_FAILED, 1, 0);
}

/*
 * Ends a stream, if it is followed. A global function, so that the verifier checks it once.
 * @param cause enum http_cause, of what is unknown
 */
__noinline int http2_end(struct http2_connection *connection, __u32 id, __u32 end, __u32 cause)
{
	struct http2_stream_key key = {.stream = id};
	struct http2_stream *stream;

	if (!connection)
		return 0;
	key.connection = connection->cookie;
	stream = bpf_map_lookup_elem(&http2_streams, &key);
	/* Another CPU may end the stream, too. */
	if (!stream || __sync_lock_test_and_set(&stream->is_ended, 1))
		return 0;
	connection->open[HTTP_MASK(stream->slot, 255)] = 0;
	http2_give_back_stream(connection->owner);
	http2_count_begun(connection, stream);
	if (stream->is_counted) {
		bool is_call = stream->content == CONTENT_GRPC;

		if (!stream->is_answered)
			http2_end_unanswered(connection, stream, end, cause, is_call);
		else if (stream->content == CONTENT_UNKNOWN)
			http2_end_answered(connection, stream);
		if (is_call)
			http2_end_call(connection, stream, end, cause);
	}
	bpf_map_delete_elem(&http2_streams, &key);
	return 0;
}

/* Ends the streams of a connection that have a higher number than `above`. */
struct http2_ending {
	struct http2_connection *connection;
	__u32 above;
	__u32 end, cause;
};

static long http2_end_slot(__u64 index, struct http2_ending *ending)
{
	struct http2_connection *connection = ending->connection;
	__u32 stream;

	if (!connection)
		return 1;
	stream = connection->open[HTTP_MASK(index, 255)];
	if (stream > ending->above)
		http2_end(connection, stream, ending->end, ending->cause);
	return 0;
}

__noinline int http2_end_all(struct http2_connection *connection, __u32 above, __u32 end, __u32 cause)
{
	struct http2_ending ending = {.connection = connection, .above = above, .end = end, .cause = cause};

	bpf_loop(HTTP2_OPEN_MAX, http2_end_slot, &ending, 0);
	return 0;
}

/* Keeps what a report about a request contains. */
static __always_inline void http2_keep_texts(const struct http2_connection *connection, struct http2_stream *stream,
					     __u32 id, __u32 path)
{
	if (keeps_traces && connection->trace.number == id && connection->trace.kind)
		stream->trace = connection->trace;
	if (events_enabled && path)
		http2_find_path(connection, &stream->path, path);
}

/*
 * A request has begun.
 *
 * @param time of its first byte
 * @param found values of its headers, by kind
 */
static __always_inline void http2_begin(struct http2_connection *connection, __u32 id, __u64 time, const __u32 *found)
{
	__u8 method = found[KIND_METHOD], content = found[KIND_CONTENT];
	struct http2_stream *stream;
	__u32 name = 0;

	if (connection->gap)
		http2_count_missing(connection, id);
	connection->gap = CAUSE_NOTHING;
	connection->last = id;
	if (!content && !found[KIND_UNKNOWN])
		content = CONTENT_OTHER;
	if (content != CONTENT_OTHER)
		name = found[KIND_PATH];
	if (content == CONTENT_GRPC)
		name = grpc_name_of(connection, name);
	stream = http2_follow(connection, id);
	if (stream) {
		stream->begun = time;
		stream->method = method;
		stream->content = content;
		stream->name = name;
		http2_keep_texts(connection, stream, id, found[KIND_PATH]);
		http2_count_begun(connection, stream);
	} else if (!connection->is_unsure) {
		http2_count_unknown(connection, method, CAUSE_LIMIT, 1);
		if (content == CONTENT_GRPC)
			grpc_add(connection, grpc_number_of(connection, name, GRPC_UNSEEN, CAUSE_LIMIT), 0);
	}
}

/*
 * Takes over the request by which HTTP/1.1 was upgraded, which is stream 1. Its beginning has been counted. A global
 * function, so that the verifier checks it once.
 */
__noinline int http2_take_upgraded(struct http2_connection *connection, const struct http_connection *first)
{
	struct http2_stream *stream;
	__u32 number, place;
	__u8 method;

	if (!connection || !first)
		return 0;
	number = first->answered - 1;
	place = number % HTTP_TIMED_MAX;
	method = first->methods[number % HTTP_OPEN_MAX];
	connection->last = 1;
	stream = http2_follow(connection, 1);
	if (!stream) {
		http2_count(connection, OUTCOME_UNKNOWN, method, CAUSE_LIMIT, 1);
		http2_add_edge(connection, REQUEST_UNREAD, 1, 0);
		return 0;
	}
	stream->begun = first->timed[place] == number ? first->begun[place] : bpf_ktime_get_ns();
	stream->method = method;
	stream->content = CONTENT_OTHER;
	stream->is_counted = 1;
	if (events_enabled && first->named == number) {
		stream->path.length = HTTP2_TEXT;
		stream->path.form = LINE_REQUEST;
		__builtin_memcpy(stream->path.bytes, first->name, HTTP2_TEXT);
	}
	if (keeps_traces && first->trace.number == number && first->trace.kind)
		stream->trace = first->trace;
	return 0;
}

/* The final response of a stream has begun. Returns whether the stream is still to be followed. */
static __always_inline bool http2_answer(struct http2_connection *connection, struct http2_stream *stream,
					 const __u32 *found, __u64 time, __u8 cause)
{
	__u32 status = found[KIND_STATUS];

	stream->is_answered = 1;
	stream->duration = time > stream->begun ? time - stream->begun : 1;
	stream->status = status;
	stream->response_seq = connection->responses.block_seq;
	connection->is_unsure = 0;
	http2_count_begun(connection, stream);
	if (status) {
		http_add(connection->netns, connection->cgroup, connection->unlisted,
			 http2_number_of(connection, status, stream->method, CAUSE_NOTHING), stream->duration);
	} else {
		http2_count(connection, OUTCOME_UNKNOWN, stream->method, found[KIND_UNKNOWN] ? cause : CAUSE_UNREADABLE,
			    1);
	}
	http2_note_answer(connection, stream, time);
	if (stream->content == CONTENT_UNKNOWN && found[KIND_CONTENT]) {
		stream->content = found[KIND_CONTENT];
		if (stream->content == CONTENT_GRPC)
			stream->name = grpc_name_of(connection, stream->name);
	}
	/* Others are reported, and counted by their edge, when they end: calls of gRPC with their code. */
	if (stream->content == CONTENT_OTHER)
		http2_end_answered(connection, stream);
	return stream->content != CONTENT_OTHER;
}
