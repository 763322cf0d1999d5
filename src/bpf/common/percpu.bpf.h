// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* CPUs to include in sums. User space reads the counts of offline CPUs only once because they do not change. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} percpu_cpus SEC(".maps");

/*
 * A per-CPU variable of CPU c is located at base + offset(c), but the kernel does not export offset(c). The offset is
 * the difference between the address that bpf_map_lookup_percpu_elem() returns for CPU c in this map and the map's
 * per-CPU pointer.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu_anchor SEC(".maps");

/*
 * Converts a pointer to an integer by storing it in a map and loading it again. The verifier forbids arithmetic on the
 * address of a map, but treats a value loaded from a map as an integer.
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

/* Determines the offset of the nth CPU in percpu_cpus; returns false if there is no such CPU. */
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
