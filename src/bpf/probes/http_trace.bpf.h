// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/misses.bpf.h"
#include "common/share.bpf.h"
#include "common/histogram.bpf.h"
#include "http.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * IDs of traces in headers of requests, for events, records and exemplars. The programs copy the header's value as it
 * is, and user space parses it.
 */
const volatile bool keeps_traces = false;
const volatile bool keeps_exemplars = false;

/*
 * Returns which ID of a trace the header has; TRACE_NONE for other headers.
 * @param first first eight bytes of the line, in lower case; `second` the next eight
 * @param skip gets the number of bytes before the value
 */
static __always_inline __u8 http_trace_kind_of(__u64 first, __u64 second, __u8 *skip)
{
	*skip = 13;
	if (first == HTTP_WORD('x', '-', 'r', 'e', 'q', 'u', 'e', 's') &&
	    (second & HTTP_BYTES(5)) == HTTP_WORD('t', '-', 'i', 'd', ':', 0, 0, 0))
		return TRACE_REQUEST_ID;
	if (first == HTTP_WORD('x', '-', 'b', '3', '-', 't', 'r', 'a') &&
	    (second & HTTP_BYTES(5)) == HTTP_WORD('c', 'e', 'i', 'd', ':', 0, 0, 0))
		return TRACE_B3;
	*skip = 12;
	if (first == HTTP_WORD('t', 'r', 'a', 'c', 'e', 'p', 'a', 'r') &&
	    (second & HTTP_BYTES(4)) == HTTP_WORD('e', 'n', 't', ':', 0, 0, 0, 0))
		return TRACE_PARENT;
	*skip = 4;
	if ((first & HTTP_BYTES(4)) == HTTP_WORD('s', 'w', '8', ':', 0, 0, 0, 0))
		return TRACE_SW8;
	*skip = 3;
	if ((first & HTTP_BYTES(3)) == HTTP_WORD('b', '3', ':', 0, 0, 0, 0, 0))
		return TRACE_B3;
	return TRACE_NONE;
}

/* Returns whether a header may have the ID of a trace. @param first first eight bytes of the line, in lower case */
static __always_inline bool http_may_be_trace(__u64 first)
{
	return first == HTTP_WORD('t', 'r', 'a', 'c', 'e', 'p', 'a', 'r') ||
	       first == HTTP_WORD('x', '-', 'r', 'e', 'q', 'u', 'e', 's') ||
	       first == HTTP_WORD('x', '-', 'b', '3', '-', 't', 'r', 'a') ||
	       (first & HTTP_BYTES(4)) == HTTP_WORD('s', 'w', '8', ':', 0, 0, 0, 0) ||
	       (first & HTTP_BYTES(3)) == HTTP_WORD('b', '3', ':', 0, 0, 0, 0, 0);
}

/*
 * Keeps the beginning of a header's value for a request. A kind with a higher number replaces the others, and the first
 * header of a kind those after it. Returns whether it was kept, so that http_continue_trace() may add to it.
 *
 * @param text HTTP_WINDOW bytes, with the value behind the first `skip` of them
 */
static __always_inline bool http_begin_trace(struct http_trace *trace, __u32 number, __u8 kind, __u8 skip,
					     const __u8 *text)
{
	if (trace->number == number && trace->kind >= kind)
		return false;
	trace->number = number;
	trace->kind = kind;
	trace->skip = skip;
	trace->bytes = HTTP_WINDOW;
	trace->form = TRACE_LINE;
	http_copy(trace->text, text, HTTP_WINDOW);
	return true;
}

/* Adds the next bytes of a value. @param text HTTP_TRACE_MORE bytes */
static __always_inline void http_continue_trace(struct http_trace *trace, const __u8 *text)
{
	if (trace->bytes != HTTP_WINDOW)
		return;
	trace->bytes = HTTP_TRACE;
	http_copy(trace->text + HTTP_WINDOW, text, HTTP_TRACE_MORE);
}

/* Histograms of a role. */
enum http_result {
	RESULT_OK,
	RESULT_ERROR,
	RESULT_CALL, /* of gRPC, whatever its code is */
};

SHARED_ENUM(http_result);

/* A request with the ID of a trace, for each bucket of a histogram. User space reads and deletes them. */
struct http_exemplar_key {
	__u64 netns, cgroup; /* as in struct place_key */
	__u8 role;
	__u8 result; /* enum http_result */
	__u8 bucket; /* of struct histogram */
	__u8 spare[5];
};

struct http_exemplar {
	__u64 time; /* when the response began, from bpf_ktime_get_ns(); 0 until the rest is complete */
	__u64 duration; /* nanoseconds */
	struct http_trace trace;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct http_exemplar_key);
	__type(value, struct http_exemplar);
} http_exemplars SEC(".maps");

/* Number of exemplars by slot. User space sets it to 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} http_exemplars_taken SEC(".maps");

/* Maximum number of exemplars of an owner between two reads. */
#define EXEMPLARS_MAX 64

/*
 * Keeps a request as the exemplar of its bucket, unless the bucket already has one. A global function, so that the
 * verifier checks it once. Exemplars of namespaces without an owner are not kept.
 *
 * @param duration nanoseconds
 */
__noinline int http_keep_exemplar(const struct request_key *edge, const struct http_trace *trace,
				  enum http_result result, __u64 now, __u64 duration)
{
	static const struct http_exemplar zero = {};
	struct http_exemplar_key key = {};
	struct http_exemplar *exemplar;
	__u32 slot, *taken;

	if (!edge || !trace)
		return 0;
	key.netns = edge->netns;
	key.cgroup = edge->cgroup;
	key.role = edge->role;
	key.result = result;
	key.bucket = histogram_bucket(duration);
	if (bpf_map_lookup_elem(&http_exemplars, &key) || !owner_listed(key.netns, &slot))
		return 0;
	taken = bpf_map_lookup_elem(&http_exemplars_taken, &slot);
	if (!taken || *taken >= EXEMPLARS_MAX)
		return 0;
	/* Filled in place, because it would take too much of the stack. */
	if (bpf_map_update_elem(&http_exemplars, &key, &zero, BPF_NOEXIST))
		return 0;
	__sync_fetch_and_add(taken, 1);
	exemplar = bpf_map_lookup_elem(&http_exemplars, &key);
	if (!exemplar)
		return 0;
	exemplar->duration = duration;
	__builtin_memcpy(&exemplar->trace, trace, sizeof(*trace));
	barrier();
	exemplar->time = now;
	return 0;
}
