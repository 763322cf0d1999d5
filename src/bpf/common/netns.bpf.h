// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/*
 * Returns the ID by which user space identifies a namespace: its cookie, or its inode number on kernels before 5.12,
 * which create the cookie only on demand.
 */
static __always_inline __u64 netns_id(const struct net *net)
{
	return bpf_core_field_exists(net->net_cookie) ? net->net_cookie : net->ns.inum;
}

/* Like netns_id(), for pointers that the verifier treats as untyped. */
static __always_inline __u64 netns_read_id(const struct net *net)
{
	return bpf_core_field_exists(net->net_cookie) ? BPF_CORE_READ(net, net_cookie) : BPF_CORE_READ(net, ns.inum);
}

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD in task_struct.flags; kernel: include/linux/sched.h */

/* Returns the network namespace of the running process; 0 in a kernel thread or an exiting process. */
static __always_inline __u64 task_netns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);

	if (BPF_CORE_READ(task, flags) & KERNEL_THREAD || !nsproxy)
		return 0;
	return netns_read_id(BPF_CORE_READ(nsproxy, net_ns));
}
