// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "events.bpf.h"
#include "kernel.h"
#include "netns.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Process on whose behalf the kernel is acting. `pid` is 0 if there is none or it is unknown. */
struct event_process {
	__u64 cgroup; /* cgroup ID in the v2 hierarchy */
	__u32 pid; /* process ID in the initial PID namespace */
	char name[16];
};

EVENT_RECORD(event_process);

/*
 * Bits of the preempt count that are set in interrupts and softirqs (kernel: include/linux/preempt.h). Sections with
 * disabled bottom halves do not set bit 8; they are counted from bit 9 upwards.
 */
#define IN_INTERRUPT 0xff0100

/* x86: offset from a CPU's run queue to its preempt count (both are static per-CPU variables); 0 if unknown. */
const volatile __u64 preempt_count_at = 0;

/*
 * Returns whether the kernel is acting on behalf of the running process; false if unknown. A softirq often interrupts
 * the very process that sent the packet, but does not act for it. On x86, the address of the preempt count is not
 * available to programs on kernels without KALLSYMS_ALL. The function therefore computes it from the address of the
 * task's run queue.
 */
static __always_inline bool in_process(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 count = 0;

	if (BPF_CORE_READ(task, flags) & KERNEL_THREAD)
		return false;
	if (bpf_core_field_exists(task->thread_info.preempt_count)) {
		count = BPF_CORE_READ(task, thread_info.preempt_count);
	} else {
		if (!preempt_count_at || !bpf_core_field_exists(task->se.cfs_rq))
			return false;
		if (bpf_probe_read_kernel(&count, sizeof(count),
					  (void *)BPF_CORE_READ(task, se.cfs_rq, rq) + preempt_count_at))
			return false;
	}
	if (bpf_core_field_exists(task->softirq_disable_cnt))
		count |= BPF_CORE_READ(task, softirq_disable_cnt);
	return !(count & IN_INTERRUPT);
}

static __always_inline void event_read_process(struct event_process *process)
{
	if (!in_process()) {
		process->pid = 0;
		return;
	}
	process->pid = bpf_get_current_pid_tgid() >> 32;
	process->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(process->name, sizeof(process->name));
}
