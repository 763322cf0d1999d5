// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "misses.bpf.h"
#include "room.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Counts of rare events by namespace, reason and side. Uses a shared map with atomic adds, because a per-CPU map
 * would take many megabytes on a large machine and save only a nanosecond per event.
 */
struct count_key {
	__u64 netns; /* cookie */
	__u32 reason;
	__u32 side; /* second dimension of the count, such as the direction */
};

struct count_value {
	__u64 count;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 20480);
	__type(key, struct count_key);
	__type(value, struct count_value);
} counts SEC(".maps");

/* Number of overflow counters per slot. The probe chooses the overflow counter for a key that has no row of its own. */
#define COUNT_RESTS 16

/* Overflow counters, indexed by slot * COUNT_RESTS + rest. An array's entries always exist, so no count is lost. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS *COUNT_RESTS);
	__type(key, __u32);
	__type(value, struct count_value);
} count_rest SEC(".maps");

static __always_inline struct count_value *count_make(const struct count_key *key, __u32 slot)
{
	struct count_value zero = {};

	if (!room_take(slot))
		return NULL;
	if (bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST))
		room_give_back(slot);
	return bpf_map_lookup_elem(&counts, key);
}

/* @param rest overflow counter to use if the owner has no free row; less than COUNT_RESTS */
static __always_inline void count_add(const struct count_key *key, struct netns_clue clue, __u64 bytes, __u32 rest)
{
	struct count_value *value = bpf_map_lookup_elem(&counts, key);

	if (!value) {
		__u32 slot = owner_slot(key->netns, clue);

		value = count_make(key, slot);
		if (!value) {
			__u32 index = slot * COUNT_RESTS + rest;

			value = bpf_map_lookup_elem(&count_rest, &index);
			count_miss(added_up);
		}
		if (!value) {
			count_miss(map_full);
			return;
		}
	}
	__sync_fetch_and_add(&value->count, 1);
	if (bytes)
		__sync_fetch_and_add(&value->bytes, bytes);
}
