// SPDX-License-Identifier: GPL-2.0-only
/* Lists the machine's network namespaces, and its processes with their namespaces and owners. */
#include "common/netns_walk.bpf.h"
#include "common/owner.bpf.h"
#include "common/pid.bpf.h"

#define TASKS_MAX (1 << 16) /* maximum number of steps per slice; a step reads one pointer and takes about 20 ns */

struct netns_row {
	__u64 cookie;
	__u32 inum;
	__u32 flags;
};

struct task_row {
	__u64 cookie;
	__u64 start; /* nanoseconds after boot */
	__u32 tgid; /* process ID in the initial PID namespace */
	__u32 pid; /* process ID in the requested PID namespace; 0 if not in it, or exiting */
	__u32 inum;
	char comm[16];
	struct owner_names owner;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct netns_row);
} netns_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 128);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct task_row);
} task_rows SEC(".maps");

struct task_walk {
	struct list_head *position, *start;
	struct pid_view view;
	__u64 base;
	__u32 skip, left, rows, done;
};

static __always_inline bool write_row(struct netns_walk *walk, struct net *net, __u32 flags)
{
	__u32 index = walk->rows;
	struct netns_row *row = bpf_map_lookup_elem(&netns_rows, &index);

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->inum = BPF_CORE_READ(net, ns.inum);
	row->flags = flags | (BPF_CORE_READ(net, user_ns, level) > 0 ? NETNS_NESTED : 0);
	return true;
}

static long step(__u64 index, struct netns_walk *walk)
{
	return netns_walk_step(index, walk, write_row);
}

/*
 * Arguments: number of namespaces to skip, maximum number of rows, whether to continue after the previous slice.
 * Returns an enum netns_walk_result.
 */
SEC("raw_tp/sys_enter")
int netns_list(struct bpf_raw_tracepoint_args *ctx)
{
	struct netns_walk walk = {};

	netns_walk_begin(&walk, ctx->args[0], ctx->args[1], ctx->args[2]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk);
}

static __always_inline void write_task(const struct task_walk *walk, struct task_row *row,
				       const struct task_struct *task)
{
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);
	const struct owner_names *owner;
	struct net *net;

	row->tgid = BPF_CORE_READ(task, tgid);
	row->pid = nsproxy ? pid_in_view(&walk->view, task) : 0;
	if (!row->pid)
		return;
	net = BPF_CORE_READ(nsproxy, net_ns);
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->inum = BPF_CORE_READ(net, ns.inum);
	row->start = BPF_CORE_READ(task, start_boottime);
	BPF_CORE_READ_INTO(&row->comm, task, comm);
	owner = owner_search_task((__u64)task, walk->base) ? owner_found() : NULL;
	if (owner) {
		__builtin_memcpy(&row->owner, owner, sizeof(row->owner));
	} else {
		row->owner.container.text[0] = row->owner.pod.text[0] = row->owner.outer.text[0] = 0;
	}
}

/* The list of processes is circular. Its head is in the idle task, which can be read like every other entry. */
static long task_step(__u64 index, struct task_walk *walk)
{
	struct list_head *position = walk->position;
	struct task_row *row;
	__u32 place = walk->rows;

	if (index && position == walk->start) {
		walk->done = 1;
		return 1;
	}
	walk->position = BPF_CORE_READ(position, next);
	if (walk->skip) {
		walk->skip--;
		return 0;
	}
	row = walk->left ? bpf_map_lookup_elem(&task_rows, &place) : NULL;
	if (!row)
		return 1;
	walk->left--;
	write_task(walk, row, (void *)position - bpf_core_field_offset(struct task_struct, tasks));
	walk->rows++;
	return 0;
}

/*
 * Arguments: number of processes to skip, maximum number of rows, number of levels from the agent's PID namespace up to
 * the one with the needed process IDs. Returns the number of rows, combined with NETNS_WALK_DONE at the end of the
 * list.
 */
SEC("raw_tp/sys_enter")
int task_list(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task(), *leader;
	struct task_walk walk = {.skip = ctx->args[0], .left = ctx->args[1]};

	pid_view_of_current(&walk.view, ctx->args[2]);
	walk.base = owner_base(walk.view.ns);
	leader = BPF_CORE_READ(task, group_leader);
	walk.start = walk.position = (void *)leader + bpf_core_field_offset(struct task_struct, tasks);
	bpf_loop(TASKS_MAX, task_step, &walk, 0);
	return walk.done ? walk.rows | NETNS_WALK_DONE : walk.rows;
}

char LICENSE[] SEC("license") = "GPL";
