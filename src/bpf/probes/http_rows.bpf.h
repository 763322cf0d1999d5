// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/histogram.bpf.h"
#include "common/place_rows.bpf.h"
#include "http.bpf.h"

/* Counts of requests. */

/* Requests with the same properties. */
struct http_row {
	__u64 requests;
	struct histogram durations; /* to the first byte of the response */
};

PLACE_ROWS(http_row);

/* Properties of the requests in a row: the `detail` of its key. */
struct http_detail {
	__u16 status; /* code or enum http_outcome */
	__u8 role;
	__u8 method;
	__u8 cause;
	__u8 version; /* 2 for HTTP/2, otherwise 0 */
	__u8 spare[2];
};

EVENT_RECORD(http_detail);

/*
 * Counts a request or something else that a detail describes. A global function, so that the verifier checks it once
 * instead of on each path.
 *
 * @param number bytes of a struct http_detail
 * @param duration nanoseconds; 0 if it has none
 */
__noinline int http_add(__u64 netns, __u64 cgroup, __u32 unlisted, __u64 number, __u64 duration)
{
	struct place_key key = {.netns = netns, .cgroup = cgroup, .detail = number};
	struct http_row *row = http_row_of(&key, unlisted);

	if (!row)
		return 0;
	__sync_fetch_and_add(&row->requests, 1);
	if (duration)
		histogram_add_shared(&row->durations, duration);
	return 0;
}

static __always_inline __u64 http_number_of(const struct http_detail *detail)
{
	__u64 number;

	__builtin_memcpy(&number, detail, sizeof(number));
	return number;
}

/* @param status code, or enum http_outcome */
static __always_inline __u32 http_outcome_of(__u32 status)
{
	if (status >= 500 || status == OUTCOME_NONE || status == OUTCOME_RESET)
		return REQUEST_FAILED;
	if (status == OUTCOME_UNKNOWN)
		return REQUEST_UNREAD;
	return status >= 400 ? REQUEST_DECLINED : REQUEST_OK;
}

/*
 * Counts requests that ended in the same way by their edge. A global function for the same reason.
 *
 * @param status code, or enum http_outcome
 * @param duration nanoseconds; 0 if it has none
 */
__noinline int http_add_edge(const struct http_connection *connection, __u32 status, __u32 count, __u64 duration)
{
	if (connection)
		request_count(&connection->edge, connection->unlisted, http_outcome_of(status), count, duration);
	return 0;
}

/*
 * Counts a request that ended. A global function for the same reason, and because the stacks of nested calls are
 * limited to 512 bytes in total, at least up to 6.1.
 *
 * @param number bytes of a struct http_detail
 * @param duration nanoseconds; 0 if it has none
 */
__noinline int http_add_ended(const struct http_connection *connection, __u64 number, __u64 duration)
{
	struct http_detail detail;

	if (!connection)
		return 0;
	__builtin_memcpy(&detail, &number, sizeof(detail));
	http_add(connection->netns, connection->cgroup, connection->unlisted, number, duration);
	if (request_is_on())
		http_add_edge(connection, detail.status, 1, duration);
	return 0;
}

static __always_inline void http_count_ended(const struct http_connection *connection, const struct http_detail *detail,
					     __u64 duration)
{
	http_add_ended(connection, http_number_of(detail), duration);
}

/* Counts something that is not a request that ended. */
static __always_inline void http_count(const struct http_connection *connection, __u16 status, __u8 method, __u8 cause)
{
	struct http_detail detail = {.status = status, .role = connection->role, .method = method, .cause = cause};

	http_add(connection->netns, connection->cgroup, connection->unlisted, http_number_of(&detail), 0);
}
