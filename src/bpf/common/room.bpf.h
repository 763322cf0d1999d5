// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "share.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Maximum number of rows that each slot may use in the map with the object's counts. Programs write the number of
 * allocated rows and user space writes the number of freed rows, so neither overwrites the other. An object that
 * includes this file has one such map.
 */
const volatile __u32 owner_rows = 8; /* per owner */
const volatile __u32 unlisted_rows = 1024; /* per slot for unlisted namespaces */

/* Allocated rows by slot. */
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

/*
 * Key of a slot's shared row, which is used for all keys that have no row of their own. Cookies are far smaller, so no
 * cookie equals this key.
 */
#define REST_OF(slot) (1ULL << 63 | (slot))

/* Allocates a row. Two CPUs may both allocate the last one. */
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

/* Frees a row that could not be created because another CPU had created it or the map had no memory. */
static __always_inline void room_give_back(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&rows_taken, &slot);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}
