// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Returns an argument of a typed tracepoint or of a function as a plain number, to be read with BPF_CORE_READ().
 * Needed for arguments that may be NULL: kernels from 6.6 to 6.12 assume that every typed argument is valid,
 * remove the check for NULL, and read unchecked.
 */
static __always_inline void *plain_argument(const __u64 *ctx, int index)
{
	void *argument = NULL;

	bpf_probe_read_kernel(&argument, sizeof(argument), ctx + index);
	return argument;
}
