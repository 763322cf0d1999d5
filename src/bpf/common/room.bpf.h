// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "share.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Maximum number of rows that each slot may use, added up over all row maps of the object. Programs count allocated
 * rows and user space counts freed rows in separate maps, so neither overwrites the other's count.
 */
const volatile __u32 owner_rows = 8; /* per owner */
const volatile __u32 unlisted_rows = 1024; /* per slot of unlisted namespaces */

/* Number of allocated rows, by slot. */
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

/* Key of a slot's overflow row, used for all keys that have no row of their own. Cookies never reach this value. */
#define REST_OF(slot) (1ULL << 63 | (slot))

/* Returns whether a slot may allocate a row. */
static __always_inline bool room_has_free(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&rows_taken, &slot);
	__u32 *returned = bpf_map_lookup_elem(&rows_returned, &slot);

	return taken && returned &&
	       (__s32)(*taken - *returned) < (__s32)(slot < SLOT_FIRST ? unlisted_rows : owner_rows);
}

/*
 * Allocates a row; returns false at the limit. Two CPUs may both allocate the last row, so a slot may slightly exceed
 * its limit.
 */
static __always_inline bool room_take(__u32 slot)
{
	__u32 *taken;

	if (!room_has_free(slot))
		return false;
	taken = bpf_map_lookup_elem(&rows_taken, &slot);
	if (!taken)
		return false;
	__sync_fetch_and_add(taken, 1);
	return true;
}

/* Undoes room_take() if the row could not be created because another CPU had created it or memory was short. */
static __always_inline void room_give_back(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&rows_taken, &slot);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}
