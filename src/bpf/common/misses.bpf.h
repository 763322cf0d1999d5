// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Events that a probe observed but could not include in its counts or histograms. Only the events in `added_up` are
 * included, in an overflow row.
 */
struct misses {
	__u64 map_full; /* the map was full */
	__u64 untracked; /* the start was not seen or could not be stored */
	__u64 no_netns; /* the event belongs to no namespace */
	__u64 added_up; /* the owner has no free row, so an overflow row was used */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct misses);
} misses SEC(".maps");

/* The map is per-CPU, but the add is atomic because another program of the object may interrupt this one. */
#define count_miss(cause)                                                      \
	do {                                                                   \
		__u32 zero_ = 0;                                               \
		struct misses *misses_ = bpf_map_lookup_elem(&misses, &zero_); \
		if (misses_)                                                   \
			__sync_fetch_and_add(&misses_->cause, 1);              \
	} while (0)
