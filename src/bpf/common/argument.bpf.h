// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * An argument of a typed tracepoint or of a function as a plain number, to be read with BPF_CORE_READ(). For those that
 * may be NULL: kernels from 6.6 to 6.12 take every typed argument for valid, remove the check for NULL, and read
 * without care.
 */
static __always_inline void *plain_argument(const __u64 *ctx, int index)
{
	void *argument = NULL;

	bpf_probe_read_kernel(&argument, sizeof(argument), ctx + index);
	return argument;
}
