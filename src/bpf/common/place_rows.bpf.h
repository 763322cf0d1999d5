// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "misses.bpf.h"
#include "room.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Rows by the place of a socket: its namespace and, in the node's own namespace, its cgroup, because Pods with
 * hostNetwork share that namespace. src/probe/place_rows.ts reads them.
 */
struct place_key {
	__u64 netns; /* cookie */
	__u64 cgroup; /* cgroup ID of the socket in the node's own namespace; 0 in other namespaces */
	__u64 detail; /* chosen by the probe, such as a role */
};

/* Returns the slot whose share a new row uses. @param unlisted slot to use if the namespace is not listed */
static __always_inline __u32 place_slot(__u64 netns, __u32 unlisted)
{
	__u32 slot;

	return owner_listed(netns, &slot) ? slot : unlisted;
}

/*
 * Defines a map of structs `name`, and name_of(), which returns the row of a key and creates it on first use. The
 * struct consists of u64 counters, which several CPUs update at the same time. When an owner has used up its rows, its
 * further keys share an overflow row for each `detail`. Returns NULL if there is no room for that either.
 */
#define PLACE_ROWS(name)                                                                           \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, 4096);                                                         \
		__type(key, struct place_key);                                                     \
		__type(value, struct name);                                                        \
	} name##s SEC(".maps");                                                                    \
	static __always_inline struct name *name##_of(const struct place_key *key, __u32 unlisted) \
	{                                                                                          \
		static const struct name zero = {};                                                \
		struct name *row = bpf_map_lookup_elem(&name##s, key);                             \
		struct place_key rest = {};                                                        \
		__u32 slot;                                                                        \
                                                                                                   \
		if (row)                                                                           \
			return row;                                                                \
		slot = place_slot(key->netns, unlisted);                                           \
		if (room_take(slot)) {                                                             \
			if (bpf_map_update_elem(&name##s, key, &zero, BPF_NOEXIST))                \
				room_give_back(slot);                                              \
			row = bpf_map_lookup_elem(&name##s, key);                                  \
			if (row)                                                                   \
				return row;                                                        \
		}                                                                                  \
		count_miss(added_up);                                                              \
		rest.netns = REST_OF(slot);                                                        \
		rest.detail = key->detail;                                                         \
		row = bpf_map_lookup_elem(&name##s, &rest);                                        \
		if (row)                                                                           \
			return row;                                                                \
		bpf_map_update_elem(&name##s, &rest, &zero, BPF_NOEXIST);                          \
		row = bpf_map_lookup_elem(&name##s, &rest);                                        \
		if (!row)                                                                          \
			count_miss(map_full);                                                      \
		return row;                                                                        \
	}                                                                                          \
	struct name
