// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Returns the id by which user space knows a namespace: its cookie; before 5.12 its inode number, because the
 * cookie is made on demand there. */
static __always_inline __u64 netns_id(const struct net *net)
{
	return bpf_core_field_exists(net->net_cookie) ? net->net_cookie : net->ns.inum;
}

/* Returns the same where the verifier does not know the type. */
static __always_inline __u64 netns_read_id(const struct net *net)
{
	return bpf_core_field_exists(net->net_cookie) ? BPF_CORE_READ(net, net_cookie) : BPF_CORE_READ(net, ns.inum);
}

#define KERNEL_THREAD 0x00200000 /* of a task's flags; kernel: include/linux/sched.h, PF_KTHREAD */

/* Returns the namespace of the running process; 0 where there is none: in a kernel thread, or a process that ends. */
static __always_inline __u64 task_netns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);

	if (BPF_CORE_READ(task, flags) & KERNEL_THREAD || !nsproxy)
		return 0;
	return netns_read_id(BPF_CORE_READ(nsproxy, net_ns));
}
