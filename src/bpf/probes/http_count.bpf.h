// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/socket_place.bpf.h"
#include "http_note.bpf.h"
#include "http_rows.bpf.h"
#include <stdbool.h>

/* Follows requests from their beginning to their end, and counts and reports them. */

struct http_begun {
	__u32 number;
	__u64 time; /* 0 if too many other requests were open to store it */
	__u8 method;
};

/* Takes the oldest open request of a connection. The caller has checked that there is one. */
static __always_inline struct http_begun http_take_oldest(struct http_connection *connection)
{
	__u32 number = connection->answered, place = number % HTTP_TIMED_MAX;
	struct http_begun begun = {
		.number = number,
		.time = connection->timed[place] == number ? connection->begun[place] : 0,
		.method = connection->methods[number % HTTP_OPEN_MAX],
	};

	connection->answered = number + 1;
	return begun;
}

static __always_inline bool http_has_open(const struct http_connection *connection)
{
	return connection->asked != connection->answered;
}

/* Stores the beginning of a request. The caller has checked that there is room. */
static __always_inline void http_ask(struct http_connection *connection, __u8 method, __u64 time)
{
	__u32 number = connection->asked, place = number % HTTP_TIMED_MAX;

	if (number - connection->answered < HTTP_TIMED_MAX) {
		connection->begun[place] = time;
		connection->timed[place] = number;
	}
	connection->methods[number % HTTP_OPEN_MAX] = method;
	connection->asked = number + 1;
}

/*
 * Counts the response to the oldest open request.
 *
 * @return method of the request; METHOD_OTHER if it is not known
 */
static __always_inline __u8 http_answer(struct http_connection *connection, __u16 status, __u64 now,
					struct __sk_buff *skb)
{
	struct http_detail detail = {.status = status, .role = connection->role};
	struct http_begun begun;
	__u64 duration;

	if (!http_has_open(connection)) {
		http_count(connection, OUTCOME_STRAY, METHOD_OTHER,
			   connection->is_late && !connection->answered ? CAUSE_LATE : CAUSE_ORPHAN);
		return METHOD_OTHER;
	}
	begun = http_take_oldest(connection);
	detail.method = begun.method;
	/* Two programs may have read the clock in the opposite order. */
	duration = !begun.time ? 0 : now > begun.time ? now - begun.time : 1;
	http_count_ended(connection, &detail, duration);
	http_note_answer(connection, skb, &detail, begun.number, now, duration);
	return begun.method;
}

/* Ends open requests without a status. */
struct http_ending {
	struct http_connection *connection;
	__u64 address; /* of the socket; needed for OUTCOME_NONE */
	__u64 now;
	__u8 outcome, cause;
};

static long http_end_oldest(__u64 index, struct http_ending *ending)
{
	struct http_connection *connection = ending->connection;
	struct http_detail detail = {.status = ending->outcome, .cause = ending->cause};
	struct http_begun begun;

	if (!connection || !http_has_open(connection))
		return 1;
	begun = http_take_oldest(connection);
	detail.role = connection->role;
	detail.method = begun.method;
	http_add(connection->netns, connection->cgroup, connection->unlisted, http_number_of(&detail), 0);
	if (ending->outcome == OUTCOME_NONE && begun.time)
		http_note_end(connection, ending->address, &detail, begun.number, ending->now - begun.time);
	return 0;
}

#define HTTP_ENDINGS_MAX 65536

/*
 * Ends all open requests. Their edge is counted once for all of them and outside of the loop, because the stacks of
 * nested calls are limited to 512 bytes in total, at least up to 6.1.
 * @param address address of the socket; needed for OUTCOME_NONE
 */
__noinline int http_end_open(struct http_connection *connection, __u8 outcome, __u8 cause, __u64 address)
{
	__u32 before;
	struct http_ending ending = {
		.connection = connection,
		.address = address,
		.now = bpf_ktime_get_ns(),
		.outcome = outcome,
		.cause = cause,
	};

	if (!connection)
		return 0;
	before = connection->answered;
	bpf_loop(HTTP_ENDINGS_MAX, http_end_oldest, &ending, 0);
	if (connection->answered != before)
		http_add_edge(connection, outcome, connection->answered - before, 0);
	return 0;
}
