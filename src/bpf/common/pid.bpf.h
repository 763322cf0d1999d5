// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* A PID namespace and its nesting level. */
struct pid_view {
	const struct pid_namespace *ns;
	__u32 level;
};

static __always_inline const struct upid *pid_number(const struct pid *pid, __u32 level)
{
	return (const void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
}

/* Finds the PID namespace that is `above` levels above the caller's own PID namespace. */
static __always_inline void pid_view_of_current(struct pid_view *view, __u32 above)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	const struct upid *number;

	level = above < level ? level - above : 0;
	number = pid_number(pid, level);
	view->level = level;
	view->ns = BPF_CORE_READ(number, ns);
}

/* Returns the ID of a task in the PID namespace of the view; 0 if the task is not visible there. */
static __always_inline __u32 pid_in_view(const struct pid_view *view, const struct task_struct *task)
{
	const struct pid *pid = BPF_CORE_READ(task, thread_pid);
	const struct upid *number = pid_number(pid, view->level);

	if (!pid || BPF_CORE_READ(pid, level) < view->level || BPF_CORE_READ(number, ns) != view->ns)
		return 0;
	return BPF_CORE_READ(number, nr);
}

#define PID_LEVELS 32 /* kernel: include/linux/pid_namespace.h, MAX_PID_NS_LEVEL */

/*
 * Returns the ID of a task in the PID namespace with inode `inum`; 0 if the task is not in that namespace. Stores a
 * pointer to the namespace in `ns`.
 */
static __always_inline __u32 pid_in_namespace(const struct task_struct *task, __u32 inum,
					      const struct pid_namespace **ns)
{
	const struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 deepest = BPF_CORE_READ(pid, level);

	for (__u32 level = 0; level < PID_LEVELS && level <= deepest; level++) {
		const struct upid *number = pid_number(pid, level);

		*ns = BPF_CORE_READ(number, ns);
		if (BPF_CORE_READ(*ns, ns.inum) == inum)
			return BPF_CORE_READ(number, nr);
	}
	return 0;
}
