// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "events.bpf.h"
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* The process on whose behalf the kernel does something; pid 0 where it is nobody's, or nobody knows. */
struct event_process {
	__u64 cgroup; /* id in the v2 hierarchy */
	__u32 pid; /* in the machine's first PID namespace */
	char name[16];
};

EVENT_RECORD(event_process);

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD */

/* Kernel: include/linux/preempt.h. The softirq bit says that one is served; disabled bottom halves count in twos above
 * it. */
#define IN_INTERRUPT 0xff0100

#define KERNEL_STACK_BYTES 16384

/*
 * Whether the kernel does this for the process that is running. A softirq often runs in the middle of the very process
 * that sent the packet, and is nobody's; x86 runs it on a stack of its own, and the context of a program is on the
 * stack that it runs on. Elsewhere the task knows.
 */
static __always_inline bool in_process(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	void *const volatile on_stack = ctx;
	__u64 stack, address = 0;

	if (BPF_CORE_READ(task, flags) & KERNEL_THREAD)
		return false;
	if (bpf_core_field_exists(task->thread_info.preempt_count))
		return !(BPF_CORE_READ(task, thread_info.preempt_count) & IN_INTERRUPT);
	if (bpf_core_field_exists(task->softirq_disable_cnt) && BPF_CORE_READ(task, softirq_disable_cnt) & IN_INTERRUPT)
		return false;
	stack = (__u64)BPF_CORE_READ(task, stack);
	/* To the verifier the copy is a number, not a pointer. */
	bpf_probe_read_kernel(&address, sizeof(address), (const void *)&on_stack);
	return address >= stack && address < stack + KERNEL_STACK_BYTES;
}

static __always_inline void event_read_process(void *ctx, struct event_process *process)
{
	if (!in_process(ctx)) {
		process->pid = 0;
		return;
	}
	process->pid = bpf_get_current_pid_tgid() >> 32;
	process->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(process->name, sizeof(process->name));
}
