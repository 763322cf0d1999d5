// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http_segment.bpf.h"

/*
 * Reads the messages of one direction line by line. Bodies are skipped without reading them.
 *
 * Responses are read only as far as necessary. While a connection has at most one open request, the acknowledgement in
 * the request's segment is the sequence number at which the response begins. So its status line is read there, and
 * everything up to the response to the next request is skipped, whatever the headers say about the length.
 */
#define HTTP_LINES_MAX 4096 /* windows that are read in one segment */
#define HTTP_VERSION_LENGTH 8

/*
 * A request has begun. If it is the only open one, the response begins at the sequence number that its segment
 * acknowledges.
 */
static __always_inline void http_begin_request(struct http_segment *segment, struct http_stream *stream)
{
	struct http_connection *connection = segment->connection;
	struct http_stream *responses = &connection->responses;
	bool is_lost = responses->mode == MODE_LOST;

	if (is_lost && http_has_open(connection)) {
		http_end_open(connection, OUTCOME_UNKNOWN, responses->cause, 0);
		connection->is_pipelined = 1;
	}
	if (!connection->unsure && connection->asked - connection->answered >= HTTP_OPEN_MAX)
		connection->unsure = CAUSE_LIMIT;
	http_count(connection, OUTCOME_BEGUN, stream->method, CAUSE_NOTHING);
	if (connection->unsure) {
		struct http_detail detail = {
			.status = OUTCOME_UNKNOWN,
			.role = connection->role,
			.method = stream->method,
			.cause = connection->unsure,
		};

		http_count_ended(connection, &detail, 0);
		return;
	}
	if (http_has_open(connection)) {
		connection->is_pipelined = 1;
	} else if (is_lost || !connection->is_pipelined || responses->mode == MODE_TO_END ||
		   responses->mode == MODE_UNTIL_REQUEST) {
		http_start_message(responses);
		http_want(segment, responses, !segment->part->direction, segment->part->ack);
	}
	http_ask(connection, stream->method, stream->begun);
}

/* The first line of a request ends at `newline`. Checks its version. */
static __always_inline void http_end_request_line(struct http_segment *segment, struct http_stream *stream,
						  __u32 newline)
{
	__u32 end = newline - (newline && stream->line[HTTP_MASK(newline - 1, 63)] == '\r');
	__u64 version = http_word(stream->line + HTTP_MASK(end - HTTP_VERSION_LENGTH, 63));

	if (end > HTTP_VERSION_LENGTH && (version & HTTP_BYTES(7)) == HTTP_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0)) {
		segment->connection->is_confirmed = 1;
		stream->mode = MODE_HEADER;
		http_begin_request(segment, stream);
		return;
	}
	if (segment->connection->is_confirmed)
		http_lose(segment, stream, CAUSE_UNREADABLE);
	else
		http_give_up(segment);
}

/* Returns whether the line may be a request line whose method has no name here, such as PROPFIND. */
static __always_inline bool http_may_be_method(__u64 word)
{
	__u32 first = word & 0xff, second = word >> 8 & 0xff;

	return first - 'A' < 26 && (second - 'A' < 26 || second == '-' || second == '_');
}

/*
 * After a header of the PROXY protocol, the connection is one of HTTP/2. Passes it to the parser of HTTP/2, from the
 * current line on. That is only possible if the line begins in the packet itself.
 *
 * The server may have sent its settings before, whose direction has been skipped since. They contain no response. The
 * client acknowledges those that it has received. At the server, the next segment begins with a frame.
 */
static __always_inline void http_pass_on(struct http_segment *segment, struct http_stream *stream)
{
	struct l7_stream *responses = l7_stream_of(segment->base, !segment->part->direction);

	if (segment->kept || stream->kept) {
		http_give_up(segment);
		return;
	}
	l7_stream_of(segment->base, segment->part->direction)->next = http_seq(segment);
	responses->next = segment->part->ack;
	responses->is_known = segment->part->direction == L7_SENT;
	segment->base->protocol = L7_HTTP2;
	segment->base->marks |= L7_THEN;
	stream->mode = MODE_TO_END;
	segment->part->position = segment->part->end;
}

static __always_inline void http_start_request(struct http_segment *segment, struct http_stream *stream)
{
	struct http_connection *connection = segment->connection;
	__u64 word = http_word(stream->line);

	stream->method = http_method_of(word);
	if (stream->method == METHOD_NONE && !connection->asked &&
	    (word & HTTP_BYTES(6)) == HTTP_WORD('P', 'R', 'O', 'X', 'Y', ' ', 0, 0)) {
		stream->mode = MODE_PREFIX;
		return;
	}
	if (!connection->asked && word == HTTP_WORD('P', 'R', 'I', ' ', '*', ' ', 'H', 'T')) {
		http_pass_on(segment, stream);
		return;
	}
	if (stream->method == METHOD_NONE && http_may_be_method(word))
		stream->method = METHOD_OTHER;
	if (stream->method == METHOD_NONE) {
		if (connection->is_confirmed)
			http_lose(segment, stream, CAUSE_UNREADABLE);
		else
			http_give_up(segment);
		return;
	}
	connection->offers = 0;
	if (events_enabled) {
		connection->named = connection->asked;
		__builtin_memcpy(connection->name, stream->line, HTTP_WINDOW);
	}
	stream->mode = MODE_FIRST;
}

static __always_inline void http_start_response(struct http_segment *segment, struct http_stream *stream)
{
	struct http_connection *connection = segment->connection;
	__u16 status = http_status_of(http_word(stream->line), http_word(stream->line + 8));
	__u8 method = METHOD_OTHER;

	if (!status) {
		http_lose(segment, stream, CAUSE_UNREADABLE);
		return;
	}
	stream->mode = MODE_HEADER;
	if (status < 200 && status != 101) {
		stream->body = BODY_NONE;
		return;
	}
	if (connection->unsure && !http_has_open(connection)) {
		http_skip_far(segment, stream, MODE_LOST);
		return;
	}
	if (status == 101 && connection->offers && connection->asked - connection->answered == 1) {
		stream->body = BODY_UPGRADE;
		return;
	}
	connection->response_seq = http_seq(segment) - stream->kept;
	method = http_answer(connection, status, segment->part->now, segment->skb);
	if (status == 101 || (method == METHOD_CONNECT && status < 300)) {
		/* The rest of the connection is not HTTP/1.x. */
		segment->base->protocol = L7_OTHER;
		segment->part->position = segment->part->end;
	} else if (!connection->is_pipelined) {
		http_skip_far(segment, stream, MODE_UNTIL_REQUEST);
	} else if (method == METHOD_HEAD || status == 204 || status == 304) {
		stream->body = BODY_NONE;
	}
}

/* Keeps the beginning of a header of the latest request if it has the ID of a trace. */
static __always_inline void http_read_trace(struct http_connection *connection, struct http_stream *stream, __u64 first,
					    __u64 second)
{
	__u8 skip = 0, kind = http_trace_kind_of(first, second, &skip);

	/* Requests of unsure connections have no number. */
	if (kind != TRACE_NONE && !connection->unsure)
		stream->has_trace =
			http_begin_trace(&connection->trace, connection->asked - 1, kind, skip, stream->line);
}

/* Reads the start of a header that tells the length of the body or the ID of a trace. */
static __always_inline void http_read_header(struct http_segment *segment, struct http_stream *stream)
{
	__u64 first = http_word(stream->line) | HTTP_LOWER, second = http_word(stream->line + 8) | HTTP_LOWER;
	__u64 length;

	if (!segment->part->is_response) {
		if (keeps_traces)
			http_read_trace(segment->connection, stream, first, second);
		if (first == HTTP_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':') &&
		    (second & HTTP_BYTES(4)) == HTTP_WORD(' ', 'h', '2', 'c', 0, 0, 0, 0) && stream->line[12] <= '\r')
			segment->connection->offers = 1;
	}
	if (first == HTTP_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	    second == HTTP_WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n')) {
		stream->has_coding = 1;
		return;
	}
	if (first != HTTP_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') ||
	    (second & HTTP_BYTES(7)) != HTTP_WORD('l', 'e', 'n', 'g', 't', 'h', ':', 0))
		return;
	length = http_number(stream->line + 15);
	if (length == HTTP_NO_NUMBER || (stream->body == BODY_LENGTH && stream->rest != length)) {
		/* A body that is not sent does not need a length. */
		if (stream->body < BODY_NONE)
			http_lose(segment, stream, CAUSE_UNREADABLE);
		return;
	}
	stream->rest = length;
	if (stream->body == BODY_NOT_DECLARED)
		stream->body = BODY_LENGTH;
}

/* A Transfer-Encoding header ends at `newline`. A body has chunks if its last coding is `chunked`. */
static __always_inline void http_end_coding(struct http_stream *stream, __u32 newline, bool is_response)
{
	__u32 end = newline - (newline && stream->line[HTTP_MASK(newline - 1, 63)] == '\r');
	__u64 last = http_word(stream->line + HTTP_MASK(end - 8, 63)) >> 8 | HTTP_LOWER;

	stream->has_coding = 0;
	if (stream->body >= BODY_NONE)
		return;
	if ((last & HTTP_BYTES(7)) == HTTP_WORD('c', 'h', 'u', 'n', 'k', 'e', 'd', 0))
		stream->body = BODY_CHUNKED;
	else
		stream->body = BODY_TO_END;
}

/*
 * The server has accepted an upgrade to HTTP/2. Its frames follow, and the preface of the client is what it sends next.
 * The request is stream 1, which the parser of HTTP/2 takes over. That is not possible in the middle of a segment that
 * had to wait.
 */
static __always_inline void http_upgrade(struct http_segment *segment)
{
	if (segment->kept && segment->part->position != segment->part->end) {
		http_end_open(segment->connection, OUTCOME_UNKNOWN, CAUSE_REORDERED, 0);
		segment->base->protocol = L7_OTHER;
	} else {
		http_take_oldest(segment->connection);
		l7_stream_of(segment->base, segment->part->direction)->next = http_seq(segment);
		segment->base->protocol = L7_HTTP2;
		segment->base->marks |= segment->kept ? L7_UPGRADED : L7_UPGRADED | L7_THEN;
	}
	segment->part->position = segment->part->end;
}

/* The headers of a message have ended. */
static __always_inline void http_end_headers(struct http_segment *segment, struct http_stream *stream)
{
	__u8 body = stream->body;

	if (body == BODY_UPGRADE) {
		http_upgrade(segment);
		return;
	}
	if (body == BODY_NOT_DECLARED)
		body = segment->part->is_response ? BODY_TO_END : BODY_NONE;
	stream->mode = body == BODY_CHUNKED ? MODE_CHUNK : MODE_START;
	if (body == BODY_LENGTH) {
		http_skip(segment, stream, stream->rest);
	} else if (body == BODY_TO_END && segment->part->is_response) {
		http_skip_far(segment, stream, MODE_TO_END);
	} else if (body == BODY_TO_END) {
		http_lose(segment, stream, CAUSE_UNREADABLE);
	}
}

/* Examines the beginning of a line, which is in the window. */
static __always_inline void http_begin_line(struct http_segment *segment, struct http_stream *stream)
{
	__u64 size;

	switch (stream->mode) {
	case MODE_START:
		stream->body = BODY_NOT_DECLARED;
		stream->has_coding = 0;
		if (segment->part->is_response)
			http_start_response(segment, stream);
		else
			http_start_request(segment, stream);
		break;
	case MODE_HEADER:
		http_read_header(segment, stream);
		break;
	case MODE_CHUNK:
		size = http_chunk_size(stream->line);
		if (size == HTTP_NO_NUMBER)
			http_lose(segment, stream, CAUSE_UNREADABLE);
		stream->rest = size;
		break;
	}
}

/* A line has ended at `newline`, and the position is behind it. */
static __always_inline void http_end_line(struct http_segment *segment, struct http_stream *stream, __u32 newline)
{
	switch (stream->mode) {
	case MODE_PREFIX:
		stream->mode = MODE_START;
		break;
	case MODE_FIRST:
		http_end_request_line(segment, stream, newline);
		break;
	case MODE_HEADER:
		if (stream->has_coding)
			http_end_coding(stream, newline, segment->part->is_response);
		break;
	case MODE_CHUNK:
		if (!stream->rest)
			stream->mode = MODE_TRAILER;
		else
			http_skip(segment, stream, stream->rest + 2);
		break;
	}
}
