// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Walks all network namespaces of the machine, one slice per call.
 *
 * The kernel links each `struct net` into the RCU list net_namespace_list (kernel: net/core/net_namespace.c). The list
 * head is not an exported symbol, so the walk starts at the caller's own namespace and continues until it returns
 * there. On the way it passes the list head, which is not part of a namespace. The walk recognizes the list head by the
 * memory at the position of ns.ops, which differs from the ns.ops of real namespaces.
 *
 * The programs are of the raw tracepoint type, but are never attached. User space runs them with BPF_PROG_TEST_RUN, for
 * which the kernel holds rcu_read_lock().
 *
 * A slice skips a given number of entries, or continues where the object's previous slice ended. Skipping thousands of
 * entries in each slice would take longer than reading them, and the duration of a walk would grow quadratically.
 */

#define NETNS_WALK_MAX (1 << 16) /* maximum number of entries; a longer list is assumed to be corrupted */

/* Result of a call: the number of rows written, combined with these flags. */
enum netns_walk_result {
	NETNS_WALK_STARTS_INITIAL = 1U << 30, /* the walk started in the initial namespace */
	NETNS_WALK_DONE = 1U << 31, /* the slice reached the end of the walk */
};

/* Flags of a row. */
enum netns_flag {
	NETNS_INITIAL = 1, /* the machine's initial namespace, which directly follows the list head */
	NETNS_DYING = 2, /* has no references left; the kernel is about to remove it */
	NETNS_NESTED = 4, /* created in a user namespace other than the initial one */
};

SHARED_ENUM(netns_walk_result);
SHARED_ENUM(netns_flag);

struct netns_walk {
	struct list_head *position, *start;
	struct list_head *last; /* entry of the last row */
	const struct proc_ns_operations *ops;
	__u32 skip, left, rows;
	__u32 after_head, done;
};

/* Position where the last slice of this object ended. */
static __u64 netns_cursor, netns_cursor_cookie;

/* Writes row number walk->rows; returns false to end the slice. */
typedef bool (*netns_row_fn)(struct netns_walk *walk, struct net *net, __u32 flags);

static __always_inline struct net *netns_at(const struct list_head *position)
{
	return (void *)position - bpf_core_field_offset(struct net, list);
}

static __always_inline bool netns_is_dying(struct net *net)
{
	struct ns_common___before_6_18 *old = (void *)&net->ns;

	if (bpf_core_field_exists(net->ns.__ns_ref))
		return BPF_CORE_READ(net, ns.__ns_ref.refs.counter) == 0;
	if (bpf_core_field_exists(old->count))
		return BPF_CORE_READ(old, count.refs.counter) == 0;
	return false;
}

/* One step of the walk, called by a bpf_loop() callback. Returns 1 to end the loop. */
static __always_inline long netns_walk_step(__u64 step, struct netns_walk *walk, netns_row_fn row)
{
	struct list_head *position = walk->position;
	struct net *net = netns_at(position);
	__u32 flags = 0;

	if (step && position == walk->start) {
		walk->done = 1;
		return 1;
	}
	walk->position = BPF_CORE_READ(position, next);
	if (BPF_CORE_READ(net, ns.ops) != walk->ops) {
		walk->after_head = 1;
		return 0;
	}
	if (walk->after_head)
		flags |= NETNS_INITIAL;
	walk->after_head = 0;
	if (walk->skip) {
		walk->skip--;
		return 0;
	}
	if (!walk->left)
		return 1;
	walk->left--;
	walk->last = position;
	if (netns_is_dying(net))
		flags |= NETNS_DYING;
	if (!row(walk, net, flags))
		return 1;
	walk->rows++;
	return 0;
}

/*
 * Returns whether the entry at which the previous slice ended is still in the list and still belongs to the same
 * namespace. A removed entry has a poisoned back link (kernel: list_del_rcu()), and a new namespace in the same memory
 * has another cookie.
 */
static __always_inline bool netns_cursor_holds(void)
{
	struct list_head *position = (void *)netns_cursor;
	struct net *net = netns_at(position);

	return position && BPF_CORE_READ(net, net_cookie) == netns_cursor_cookie &&
	       BPF_CORE_READ(position, prev, next) == position;
}

/*
 * Initializes a slice.
 * @param skip number of entries to skip
 * @param goes_on whether to start at the last row of the previous slice if possible, ignoring `skip`
 * @return whether the slice starts at the last row of the previous slice
 */
static __always_inline bool netns_walk_begin(struct netns_walk *walk, __u32 skip, __u32 count, bool goes_on)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);

	walk->start = walk->position = (void *)net + bpf_core_field_offset(struct net, list);
	walk->ops = BPF_CORE_READ(net, ns.ops);
	walk->skip = skip;
	walk->left = count;
	if (!goes_on || !netns_cursor_holds())
		return false;
	walk->position = (void *)netns_cursor;
	walk->skip = 0;
	return true;
}

static __always_inline int netns_walk_result(const struct netns_walk *walk)
{
	struct net *last = netns_at(walk->last);
	__u32 result = walk->rows;

	netns_cursor = (__u64)walk->last;
	netns_cursor_cookie = walk->last ? BPF_CORE_READ(last, net_cookie) : 0;
	if (walk->done)
		result |= NETNS_WALK_DONE;
	if (walk->done && walk->after_head)
		result |= NETNS_WALK_STARTS_INITIAL;
	return result;
}
