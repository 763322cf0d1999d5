// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * What a probe counts of rare things: by namespace and by what the probe tells apart. One plain map with atomic adds:
 * a per-CPU map of this size is many megabytes on a large machine and saves a nanosecond.
 */
struct count_key {
	__u64 netns; /* cookie */
	__u32 reason;
	__u32 side; /* ignored or not, sent or received: what else the probe tells apart */
};

struct count_value {
	__u64 count;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct count_key);
	__type(value, struct count_value);
} counts SEC(".maps");

/* What is in no count: found no room, or belongs to no namespace. */
struct count_misses {
	__u64 map_full;
	__u64 no_netns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count_misses);
} count_misses SEC(".maps");

/* Atomic, though the array is per CPU: a program may be interrupted by another one of its object. */
static __always_inline void count_miss(bool map_full)
{
	__u32 zero = 0;
	struct count_misses *misses = bpf_map_lookup_elem(&count_misses, &zero);

	if (misses)
		__sync_fetch_and_add(map_full ? &misses->map_full : &misses->no_netns, 1);
}

static __always_inline void count_add(const struct count_key *key, __u64 bytes)
{
	struct count_value *value = bpf_map_lookup_elem(&counts, key);

	if (!value) {
		struct count_value zero = {};

		bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&counts, key);
		if (!value) {
			count_miss(true);
			return;
		}
	}
	__sync_fetch_and_add(&value->count, 1);
	if (bytes)
		__sync_fetch_and_add(&value->bytes, bytes);
}
