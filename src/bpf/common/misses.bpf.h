// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Occurrences that a probe saw and that are in no count and no histogram, except for the last field. */
struct misses {
	__u64 map_full; /* the map had no room */
	__u64 untracked; /* its begin was not seen, or there was no room to keep it */
	__u64 no_netns; /* belongs to no namespace */
	__u64 added_up; /* counted, but with the rest of its owner, which has no row left */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct misses);
} misses SEC(".maps");

/* The add is atomic, though the array is per CPU: a program may be interrupted by another one of its object. */
#define count_miss(cause)                                                      \
	do {                                                                   \
		__u32 zero_ = 0;                                               \
		struct misses *misses_ = bpf_map_lookup_elem(&misses, &zero_); \
		if (misses_)                                                   \
			__sync_fetch_and_add(&misses_->cause, 1);              \
	} while (0)
