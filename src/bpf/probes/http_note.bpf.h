// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/socket.bpf.h"
#include "common/socket_place.bpf.h"
#include "http_report.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Reports single requests of HTTP/1.x. */

/* Returns what identifies the trace of a request; NULL if its headers had no ID. */
static __always_inline const struct http_trace *http_trace_of(const struct http_connection *connection, __u32 number)
{
	return keeps_traces && connection->trace.kind && connection->trace.number == number ? &connection->trace : NULL;
}

/*
 * Reports a request. A global function with few arguments, so that the verifier checks it once instead of on each path,
 * and because of the limit of the stack.
 *
 * @param address address of the socket
 * @param detail bytes of a struct http_detail
 * @param which number of the request | enum http_consumer << 32
 * @param duration nanoseconds
 */
__noinline int http_report(const struct http_connection *connection, __u64 address, __u64 detail, __u64 which,
			   __u64 duration)
{
	const struct sock *socket = (const void *)address;
	__u32 number = which;
	const struct http_trace *trace;
	struct http_event *event;

	if (!events_enabled || !connection || !socket)
		return 0;
	event = http_start_report(&connection->edge, owner_slot(connection->netns, (struct netns_clue){.sk = socket}),
				  which >> 32);
	if (!event)
		return 0;
	event->duration = duration;
	__builtin_memcpy(&event->detail, &detail, sizeof(event->detail));
	if (connection->named == number) {
		event->line_form = LINE_REQUEST;
		__builtin_memcpy(event->line, connection->name, HTTP_WINDOW);
	}
	trace = http_trace_of(connection, number);
	event->has_trace = !!trace;
	if (trace)
		__builtin_memcpy(&event->trace, trace, sizeof(*trace));
	socket_read_tuple(&event->tuple, socket);
	if (event->detail.role == ROLE_SERVER)
		tuple_reverse(&event->tuple);
	else if (reports_records && event->detail.status != OUTCOME_NONE)
		event->server_duration =
			http_recall(http_response_id(connection->response_seq, event->tuple.source_port));
	event_submit(event);
	return 0;
}

/*
 * Reports a request that was answered, if it is to be reported, and keeps it as an exemplar.
 * @param detail properties of the request
 * @param duration nanoseconds; 0 if it is unknown
 */
static __always_inline void http_note_answer(struct http_connection *connection, struct __sk_buff *skb,
					     const struct http_detail *detail, __u32 number, __u64 now, __u64 duration)
{
	const struct http_trace *trace = http_trace_of(connection, number);
	bool is_failure = http_is_failure(detail->status);
	__u64 consumers;

	if (keeps_exemplars && trace && duration)
		http_keep_exemplar(&connection->edge, trace, is_failure ? RESULT_ERROR : RESULT_OK, now, duration);
	/* The port of the peer is in network order. */
	if (reports_records && connection->role == ROLE_SERVER)
		http_remember(http_response_id(connection->response_seq, bpf_ntohl(skb->remote_port)), duration);
	consumers = http_consumers_of(is_failure, duration, connection->response_seq);
	if (consumers) {
		struct bpf_sock *typed = skb->sk;

		if (typed)
			http_report(connection, (__u64)plain_address(typed), http_number_of(detail),
				    number | consumers << 32, duration);
	}
}

/* Reports a request that got no response. @param address address of the socket */
static __always_inline void http_note_end(const struct http_connection *connection, __u64 address,
					  const struct http_detail *detail, __u32 number, __u64 duration)
{
	__u64 consumers = http_consumers_of(true, duration, 0);

	if (consumers)
		http_report(connection, address, http_number_of(detail), number | consumers << 32, duration);
}
