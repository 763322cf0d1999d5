// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "share.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Sends events from a probe to user space. Each event is counted as produced, takes a token from its owner's bucket,
 * and reserves space in the ring buffer. Refused events are counted as well, so produced = limited + lost + submitted
 * always holds. Each object that includes this file has its own ring buffer, ledger and table of buckets.
 */

const volatile bool events_enabled = false; /* the variables below are set only if this is true */
SETTING __u64 event_rate = 0; /* events per second per owner; also the capacity of a bucket */
const volatile __u64 jiffies_per_second = 0;
const volatile __u64 ring_share = 0; /* maximum number of unread bytes per owner in the ring buffer */

struct event_ledger {
	__u64 produced; /* all events, including refused ones */
	__u64 limited; /* refused because the owner exceeded its rate or its share of the ring */
	__u64 lost; /* refused because the ring was full */
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
	__u64 position; /* the reader's position in the ring buffer when `bytes` was last reset */
	__u64 bytes; /* bytes written to the ring buffer since then */
};

/* Buckets by slot. All namespaces of an owner share one bucket. */
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

/*
 * Takes a token; returns false if there is none. Two CPUs may both take the last token, which is acceptable because the
 * limit only has to bound the cost. Time is measured in jiffies because reading the clock would take ten times as long
 * as the rest of the function.
 *
 * @param rate tokens per second, which is also the capacity of a bucket
 */
static __always_inline bool event_take_token(struct event_bucket *bucket, __u64 rate)
{
	__u64 now = bpf_jiffies64(), full = rate * jiffies_per_second;
	/* Read each field only once because another CPU may change it and may store a time later than `now`. */
	__u64 tokens = *(volatile __u64 *)&bucket->tokens;
	__s64 elapsed = now - *(volatile __u64 *)&bucket->refilled;

	if (elapsed > 0) {
		tokens += elapsed * rate;
		/* Limits the product above, which could overflow after a long pause. */
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

/*
 * Returns whether the owner may write `size` more bytes to the ring buffer before the reader consumes more records.
 *
 * @param share maximum number of bytes that the owner may write between two reads
 */
static __always_inline bool event_take_bytes(struct event_bucket *bucket, __u64 size, __u64 share)
{
	__u64 position = bpf_ringbuf_query(&events, BPF_RB_CONS_POS);

	if (bucket->position != position) {
		bucket->position = position;
		bucket->bytes = 0;
	}
	if (bucket->bytes + size > share)
		return false;
	bucket->bytes += size;
	return true;
}

/* Like event_take_bytes(), with the owner's full share. */
static __always_inline bool event_take_share(struct event_bucket *bucket, __u64 size)
{
	return event_take_bytes(bucket, size, ring_share);
}

/*
 * Reserves space for an event; returns NULL if the event is refused. The ledger is per-CPU, but adds are atomic because
 * another program of the object may interrupt this one.
 *
 * @param slot slot of the owner
 * @param size bytes; must be a compile-time constant
 */
static __always_inline void *event_reserve_of(__u32 slot, __u64 size)
{
	__u32 zero = 0;
	struct event_ledger *ledger = bpf_map_lookup_elem(&event_ledgers, &zero);
	struct event_bucket *bucket = bpf_map_lookup_elem(&event_buckets, &slot);
	void *event;

	if (!ledger || !bucket)
		return NULL;
	__sync_fetch_and_add(&ledger->produced, 1);
	if (!event_take_token(bucket, event_rate) || !event_take_share(bucket, size)) {
		__sync_fetch_and_add(&ledger->limited, 1);
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, size, 0);
	if (!event)
		__sync_fetch_and_add(&ledger->lost, 1);
	return event;
}

/* Like event_reserve_of(), for the owner of a namespace. */
static __always_inline void *event_reserve(__u64 netns, struct netns_clue clue, __u64 size)
{
	return event_reserve_of(owner_slot(netns, clue), size);
}

/*
 * Submits an event. Wakes the reader only if it has read all earlier events; otherwise the reader is already polling.
 */
static __always_inline void event_submit(void *event)
{
	bpf_ringbuf_submit(event, 0);
}
