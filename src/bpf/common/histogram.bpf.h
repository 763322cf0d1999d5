// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "events.bpf.h"
#include "misses.bpf.h"
#include "room.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Histogram of durations. Each bucket's upper limit is twice that of the previous bucket: bucket i counts durations of
 * more than 2^(i-1) and at most 2^i microseconds. The first bucket also includes shorter durations, and the last bucket
 * longer ones.
 */
#define HISTOGRAM_BOUNDS 25 /* the last is 16.8 seconds */

struct histogram {
	__u64 sum; /* nanoseconds; 0 if the histogram is empty */
	__u64 counts[HISTOGRAM_BOUNDS + 1];
};

EVENT_RECORD(histogram);

/*
 * Defines a map of histogram structs keyed by namespace cookie, and histograms_of(), which creates a namespace's entry
 * on first use. Once an owner has no free rows, its further namespaces share a single row. The histograms are shared by
 * all CPUs because per-CPU histograms for 110 Pods would take 63 MB with 128 possible CPUs.
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
	/* Determines the number of significant bits. */
	for (int step = 16; step; step /= 2) {
		if (rest >> step) {
			bits += step;
			rest >>= step;
		}
	}
	return bits + rest;
}

/* Adds to a histogram of this CPU that no other program updates. */
static __always_inline void histogram_add(struct histogram *histogram, __u64 nanoseconds)
{
	__u32 bucket = histogram_bucket(nanoseconds);

	/*
	 * Keeps the value in one register. Otherwise the compiler may check the limit on a copy, and the verifier would
	 * not know the limit of the value itself.
	 */
	barrier_var(bucket);
	if (bucket > HISTOGRAM_BOUNDS)
		return;
	histogram->counts[bucket]++;
	histogram->sum += nanoseconds ? nanoseconds : 1;
}

/* Adds to a histogram that other CPUs also update. */
static __always_inline void histogram_add_shared(struct histogram *histogram, __u64 nanoseconds)
{
	__u32 bucket = histogram_bucket(nanoseconds);

	barrier_var(bucket);
	if (bucket > HISTOGRAM_BOUNDS)
		return;
	__sync_fetch_and_add(&histogram->counts[bucket], 1);
	__sync_fetch_and_add(&histogram->sum, nanoseconds ? nanoseconds : 1);
}
