// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "share.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Room of each slot in the map of the object's counts, in rows. Programs write the rows taken, user space the
 * rows given back, so that neither overwrites the other. An object that includes this has one such map.
 */
const volatile __u32 owner_rows = 8; /* for each owner */
const volatile __u32 unlisted_rows = 1024; /* for each of the slots for unlisted namespaces */

/* Rows taken, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} rows_taken SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} rows_returned SEC(".maps");

/* Key of the row that adds up keys without a row, in place of a namespace's cookie, which is far smaller. */
#define REST_OF(slot) (1ULL << 63 | (slot))

/* Takes a row. Two CPUs may both get the last one. */
static __always_inline bool room_take(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&rows_taken, &slot);
	__u32 *returned = bpf_map_lookup_elem(&rows_returned, &slot);

	if (!taken || !returned)
		return false;
	if ((__s32)(*taken - *returned) >= (__s32)(slot < SLOT_FIRST ? unlisted_rows : owner_rows))
		return false;
	__sync_fetch_and_add(taken, 1);
	return true;
}

/* Gives a row back: another CPU created it, or the map had no memory. */
static __always_inline void room_give_back(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&rows_taken, &slot);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}
