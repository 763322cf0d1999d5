// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define ADDRESS_PROGRAMS 8

/* One entry per program because one program may interrupt another. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ADDRESS_PROGRAMS);
	__type(key, __u32);
	__type(value, __u64);
} address_cells SEC(".maps");

/*
 * Converts a pointer to an integer by storing it in a map and loading it again. The verifier forbids arithmetic on
 * kernel pointers, but treats a value loaded from a map as an integer.
 */
static __always_inline __u64 address_of(const void *pointer, __u32 program)
{
	volatile __u64 *cell = bpf_map_lookup_elem(&address_cells, &program);

	if (!cell)
		return 0;
	*cell = (__u64)pointer;
	return *cell;
}
