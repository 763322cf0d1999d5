// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* CPUs to sum over. The counts of an offline CPU no longer change, so user space reads them once and keeps them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} percpu_cpus SEC(".maps");

/*
 * CPU c has its copy of a per-CPU variable at base + offset(c), but offset(c) is not exported. The offset is the
 * difference between the address that bpf_map_lookup_percpu_elem() returns for CPU c of this map and the map's per-CPU
 * pointer.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu_anchor SEC(".maps");

/*
 * Converts a pointer to a number. The verifier does not allow arithmetic on the address of a map, but treats a value
 * loaded from a map as a number.
 */
static __always_inline __u64 number_of(const void *pointer)
{
	__u32 zero = 0;
	volatile __u64 *cell = bpf_map_lookup_elem(&percpu_anchor, &zero);

	if (!cell)
		return 0;
	*cell = (__u64)pointer;
	return *cell;
}

/* Returns the per-CPU pointer of percpu_anchor, for percpu_offset(). */
static __always_inline __u64 percpu_anchor_base(void)
{
	struct bpf_array *anchor = (void *)number_of(&percpu_anchor);

	return (__u64)BPF_CORE_READ(anchor, pptrs[0]);
}

/* Determines the offset of the nth CPU to sum over; returns false if there is no such CPU. */
static __always_inline bool percpu_offset(__u32 nth, __u64 base, __u64 *offset)
{
	__u32 zero = 0;
	__u32 *cpu = bpf_map_lookup_elem(&percpu_cpus, &nth);
	const void *share = cpu ? bpf_map_lookup_percpu_elem(&percpu_anchor, &zero, *cpu) : NULL;

	if (!share)
		return false;
	*offset = number_of(share) - base;
	return true;
}
