// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Returns an argument of a typed tracepoint or function as an untyped pointer, which must be read with BPF_CORE_READ().
 * Required for arguments that may be NULL: the verifier of Linux 6.6 to 6.12 assumes that typed arguments are never
 * NULL, so it removes NULL checks and allows direct access.
 */
static __always_inline void *plain_argument(const __u64 *ctx, int index)
{
	void *argument = NULL;

	bpf_probe_read_kernel(&argument, sizeof(argument), ctx + index);
	return argument;
}
