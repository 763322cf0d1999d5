// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "share.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * The only way of an event from a probe to user space: count it as produced, ask the owner's token bucket,
 * reserve room in the ring. Refused events are counted, so that produced = limited + lost + submitted, exactly. A
 * program that includes this has one ring, one ledger and one table of buckets.
 */

const volatile bool events_enabled = false; /* if true, the constants below are set too */
const volatile __u64 event_rate = 0; /* tokens per second and owner, and the size of a bucket */
const volatile __u64 jiffies_per_second = 0;
const volatile __u64 ring_share = 0; /* bytes that one owner may have in the ring */

struct event_ledger {
	__u64 produced; /* all events, refused ones included */
	__u64 limited; /* refused: beyond the rate of its owner, or the owner's share of the ring */
	__u64 lost; /* the ring was full */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_ledger);
} event_ledgers SEC(".maps");

struct event_bucket {
	__u64 refilled; /* jiffies */
	__u64 tokens; /* in units of 1/jiffies_per_second of an event */
	__u64 position; /* of the reader of the ring, when the count of bytes began */
	__u64 bytes; /* put into the ring since then */
};

/* By slot: all namespaces of an owner, however many it makes, share one bucket. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct event_bucket);
} event_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* User space reads a record of the ring by the layout of its struct; this keeps the struct in the object's BTF. */
#define EVENT_RECORD(type) const struct type *const volatile type##_record = NULL

/*
 * Two CPUs may race for the last token and both get it: the limit is a bound on cost, not an exact
 * number. Time is in jiffies, because reading the clock costs ten times as much as the rest of the function.
 */
static __always_inline bool event_take_token(struct event_bucket *bucket)
{
	__u64 now = bpf_jiffies64(), full = event_rate * jiffies_per_second;
	/* Another CPU may write meanwhile: each field is read once, and the other CPU's clock may be ahead. */
	__u64 tokens = *(volatile __u64 *)&bucket->tokens;
	__s64 elapsed = now - *(volatile __u64 *)&bucket->refilled;

	if (elapsed > 0) {
		tokens += elapsed * event_rate;
		/* A long pause must not overflow the sum. */
		if (elapsed > (__s64)jiffies_per_second || tokens > full)
			tokens = full;
		bucket->refilled = now;
	}
	if (tokens >= jiffies_per_second) {
		bucket->tokens = tokens - jiffies_per_second;
		return true;
	}
	if (elapsed > 0)
		bucket->tokens = tokens;
	return false;
}

/* Returns whether the owner may put `size` more bytes into the ring, whose reader may be late. */
static __always_inline bool event_take_share(struct event_bucket *bucket, __u64 size)
{
	__u64 position = bpf_ringbuf_query(&events, BPF_RB_CONS_POS);

	if (bucket->position != position) {
		bucket->position = position;
		bucket->bytes = 0;
	}
	if (bucket->bytes + size > ring_share)
		return false;
	bucket->bytes += size;
	return true;
}

/*
 * Returns room for an event of `size` bytes (a constant), or NULL. Adds are atomic, though the ledger is per CPU:
 * a program may be interrupted by another one that shares it.
 */
static __always_inline void *event_reserve(__u64 netns, struct netns_clue clue, __u64 size)
{
	__u32 zero = 0, slot = owner_slot(netns, clue);
	struct event_ledger *ledger = bpf_map_lookup_elem(&event_ledgers, &zero);
	struct event_bucket *bucket = bpf_map_lookup_elem(&event_buckets, &slot);
	void *event;

	if (!ledger || !bucket)
		return NULL;
	__sync_fetch_and_add(&ledger->produced, 1);
	if (!event_take_token(bucket) || !event_take_share(bucket, size)) {
		__sync_fetch_and_add(&ledger->limited, 1);
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, size, 0);
	if (!event)
		__sync_fetch_and_add(&ledger->lost, 1);
	return event;
}

/* Wakes the reader only where it has read all earlier events. While events flow, the reader polls by a timer. */
static __always_inline void event_submit(void *event)
{
	bpf_ringbuf_submit(event, 0);
}
