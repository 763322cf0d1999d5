// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "netns.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Offset from a CPU's run queue to its timer bases (both are static per-CPU variables); 0 if unknown. */
const volatile __u64 timer_bases_at = 0;

#define TIMER_BASES_MAX 3

/*
 * Returns the namespace of fragments that are discarded because the rest of their packet did not arrive. Such fragments
 * no longer have a device, but the timer that is running on this CPU belongs to their fragment queue. Returns 0 if it
 * is another timer.
 */
static __always_inline __u64 fragment_timer_netns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	void *bases;

	if (!timer_bases_at || !bpf_core_field_exists(task->se.cfs_rq))
		return 0;
	bases = (void *)BPF_CORE_READ(task, se.cfs_rq, rq) + timer_bases_at;
	for (int i = 0; i < TIMER_BASES_MAX; i++) {
		struct timer_base *base = bases + i * bpf_core_type_size(struct timer_base);
		struct timer_list *timer = BPF_CORE_READ(base, running_timer);
		struct inet_frag_queue *queue;
		struct fqdir *fqdir;
		struct net *net;

		if (!timer)
			continue;
		queue = (void *)timer - bpf_core_field_offset(struct inet_frag_queue, timer);
		fqdir = BPF_CORE_READ(queue, fqdir);
		net = BPF_CORE_READ(fqdir, net);
		if (fqdir && (BPF_CORE_READ(net, ipv4.fqdir) == fqdir || BPF_CORE_READ(net, ipv6.fqdir) == fqdir))
			return netns_read_id(net);
	}
	return 0;
}
