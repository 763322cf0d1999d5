// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "events.bpf.h"
#include "kernel.h"
#include "netns.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Process on whose behalf the kernel acts. `pid` is 0 if there is none or it is unknown. */
struct event_process {
	__u64 cgroup; /* ID in the v2 hierarchy */
	__u32 pid; /* in the initial PID namespace */
	char name[16];
};

EVENT_RECORD(event_process);

/*
 * Kernel: include/linux/preempt.h. The softirq bit means that a softirq is running. Sections with disabled bottom
 * halves are counted above this bit, in steps of two.
 */
#define IN_INTERRUPT 0xff0100

/* x86: offset from a CPU's run queue to its preempt count, which are both static per-CPU variables; 0 if unknown. */
const volatile __u64 preempt_count_at = 0;

/*
 * Returns whether the kernel acts on behalf of the running process. A softirq often interrupts the process that sent
 * the packet, but does not act for it. Returns false if unknown. On x86, programs cannot get the address of the preempt
 * count because kernels without KALLSYMS_ALL refuse it. Therefore the preempt count is found through the run queue of
 * the running task's CPU.
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
