// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2_calls.bpf.h"
#include "http_report.bpf.h"
#include "common/socket.bpf.h"
#include "common/tuple.bpf.h"
#include <stdbool.h>

/* Reports single requests of HTTP/2 and calls of gRPC. */

static __always_inline __u64 http2_number_of(const struct http2_connection *connection, __u16 status, __u8 method,
					     __u8 cause)
{
	struct http_detail detail = {
		.status = status,
		.role = connection->role,
		.method = method,
		.cause = cause,
		.version = 2,
	};

	return http_number_of(&detail);
}

/* Reads the addresses of a connection. A global function, because of the limit of the stack. */
__noinline int http2_read_ends(struct http2_connection *connection, __u64 address)
{
	const struct sock *socket = (const void *)address;

	if (!connection || !socket)
		return 0;
	socket_read_tuple(&connection->ends, socket);
	if (connection->role == ROLE_SERVER)
		tuple_reverse(&connection->ends);
	return 0;
}

/* Copies the text of a path, if it is still kept. @param path value of KIND_PATH */
static __always_inline void http2_find_path(const struct http2_connection *connection, struct http2_text *text,
					    __u32 path)
{
	static const struct http2_text known[] = {
		[PATH_ROOT] = {.length = 1, .form = LINE_PATH, .bytes = "/"},
		[PATH_INDEX] = {.length = 11, .form = LINE_PATH, .bytes = "/index.html"},
	};
	__u64 place = HTTP2_TEXTS;

	if (path == connection->path_hash) {
		*text = connection->path;
		return;
	}
	if (path < PATH_LONG) {
		*text = known[path == PATH_ROOT ? PATH_ROOT : PATH_INDEX];
		return;
	}
#pragma unroll
	for (int index = 0; index < HTTP2_TEXTS; index++)
		place = connection->hashes[index] == path ? index : place;
	if (place < HTTP2_TEXTS)
		*text = connection->texts[HTTP_MASK(place, 7)];
}

/*
 * Reports a request. A global function with few arguments, so that the verifier checks it once.
 *
 * @param detail bytes of a struct http_detail or grpc_detail
 * @param which enum http_consumer | enum http2_end << 8
 * @param duration nanoseconds
 */
__noinline int http2_report(const struct http2_connection *connection, const struct http2_stream *stream, __u64 detail,
			    __u32 which, __u64 duration)
{
	struct http_event *event;

	if (!events_enabled || !connection || !stream)
		return 0;
	event = http_start_report(&connection->edge, place_slot(connection->netns, connection->unlisted), which);
	if (!event)
		return 0;
	event->duration = duration;
	event->server_duration = stream->server_duration;
	event->tuple = connection->ends;
	__builtin_memcpy(&event->detail, &detail, sizeof(event->detail));
	event->end = which >> 8;
	event->status = stream->status;
	event->method = stream->method;
	event->line_bytes = stream->path.length;
	event->line_form = stream->path.form;
	event->is_line_cut = stream->path.is_cut;
	__builtin_memcpy(event->line, stream->path.bytes, HTTP2_TEXT);
	event->has_trace = !!stream->trace.kind;
	event->trace = stream->trace;
	event_submit(event);
	return 0;
}

/*
 * Reports a request that has ended, if it is to be reported.
 * @param which enum http2_end | whether it has failed << 8
 */
static __always_inline void http2_note(const struct http2_connection *connection, const struct http2_stream *stream,
				       __u64 detail, __u32 which, __u64 duration)
{
	__u32 consumers = http_consumers_of(which >> 8 & 1, duration, stream->response_seq);

	if (consumers)
		http2_report(connection, stream, detail, consumers | (which & 0xff) << 8, duration);
}

/* Notes what later reports about an answered request need, and keeps the request as an exemplar. */
static __always_inline void http2_note_answer(const struct http2_connection *connection, struct http2_stream *stream,
					      __u64 now)
{
	__u64 response;

	if (keeps_exemplars && stream->status && stream->trace.kind)
		http_keep_exemplar(&connection->edge, &stream->trace,
				   http_is_failure(stream->status) ? RESULT_ERROR : RESULT_OK, now, stream->duration);
	if (!reports_records)
		return;
	response = http_response_id(stream->response_seq, connection->ends.source_port);
	if (connection->role == ROLE_SERVER)
		http_remember(response, stream->duration);
	else
		stream->server_duration = http_recall(response);
}
