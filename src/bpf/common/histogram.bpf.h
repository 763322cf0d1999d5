// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "misses.bpf.h"
#include "room.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Histogram of durations. Each bucket's upper bound is twice the previous one: bucket i counts durations of more than
 * 2^(i-1) and at most 2^i microseconds. The first bucket also counts all shorter durations, and the last bucket all
 * longer ones.
 */
#define HISTOGRAM_BOUNDS 25 /* the highest bound is 16.8 seconds */

struct histogram {
	__u64 sum; /* nanoseconds; 0 if the histogram is empty */
	__u64 counts[HISTOGRAM_BOUNDS + 1];
};

EVENT_RECORD(histogram);

/*
 * Defines a map of histogram structs keyed by namespace cookie, and histograms_of(), which creates a namespace's entry
 * on first use. When an owner has used up its rows, its remaining namespaces share an overflow row. All CPUs update the
 * same histograms because per-CPU histograms for 110 Pods would take 63 MB on a machine with 128 possible CPUs.
 */
#define NETNS_HISTOGRAMS(name)                                                                 \
	struct {                                                                               \
		__uint(type, BPF_MAP_TYPE_HASH);                                               \
		__uint(max_entries, 1024);                                                     \
		__type(key, __u64);                                                            \
		__type(value, struct name);                                                    \
	} name SEC(".maps");                                                                   \
	static __always_inline struct name *histograms_of(__u64 netns, struct netns_clue clue) \
	{                                                                                      \
		static const struct name zero = {};                                            \
		struct name *histograms = bpf_map_lookup_elem(&name, &netns);                  \
		__u64 rest;                                                                    \
		__u32 slot;                                                                    \
                                                                                               \
		if (histograms)                                                                \
			return histograms;                                                     \
		slot = owner_slot(netns, clue);                                                \
		if (room_take(slot)) {                                                         \
			if (bpf_map_update_elem(&name, &netns, &zero, BPF_NOEXIST))            \
				room_give_back(slot);                                          \
			histograms = bpf_map_lookup_elem(&name, &netns);                       \
			if (histograms)                                                        \
				return histograms;                                             \
		}                                                                              \
		rest = REST_OF(slot);                                                          \
		histograms = bpf_map_lookup_elem(&name, &rest);                                \
		if (histograms)                                                                \
			return histograms;                                                     \
		bpf_map_update_elem(&name, &rest, &zero, BPF_NOEXIST);                         \
		histograms = bpf_map_lookup_elem(&name, &rest);                                \
		if (!histograms)                                                               \
			count_miss(map_full);                                                  \
		return histograms;                                                             \
	}                                                                                      \
	struct name

static __always_inline __u32 histogram_bucket(__u64 nanoseconds)
{
	__u64 microseconds = nanoseconds ? (nanoseconds - 1) / 1000 : 0;
	__u32 rest = microseconds, bits = 0;

	if (microseconds >> (HISTOGRAM_BOUNDS - 1))
		return HISTOGRAM_BOUNDS;
	/* Binary search for the number of significant bits. */
	for (int step = 16; step; step /= 2) {
		if (rest >> step) {
			bits += step;
			rest >>= step;
		}
	}
	return bits + rest;
}

/* Adds a duration to a per-CPU histogram that no other program updates. */
static __always_inline void histogram_add(struct histogram *histogram, __u64 nanoseconds)
{
	__u32 bucket = histogram_bucket(nanoseconds);

	/*
	 * Keeps the value in one register. Otherwise the compiler may check the bound on a copy, and the verifier would
	 * not apply the bound to the original.
	 */
	barrier_var(bucket);
	if (bucket > HISTOGRAM_BOUNDS)
		return;
	histogram->counts[bucket]++;
	histogram->sum += nanoseconds ? nanoseconds : 1;
}

/* Adds a duration to a histogram that other CPUs may update at the same time. */
static __always_inline void histogram_add_shared(struct histogram *histogram, __u64 nanoseconds)
{
	__u32 bucket = histogram_bucket(nanoseconds);

	barrier_var(bucket);
	if (bucket > HISTOGRAM_BOUNDS)
		return;
	__sync_fetch_and_add(&histogram->counts[bucket], 1);
	__sync_fetch_and_add(&histogram->sum, nanoseconds ? nanoseconds : 1);
}
