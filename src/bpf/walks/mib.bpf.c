// SPDX-License-Identifier: GPL-2.0-only
/* Reads the SNMP counters of every network namespace. */
#include "common/mib.bpf.h"
#include "common/netns_walk.bpf.h"

struct mib_walk {
	struct netns_walk netns; /* must be first because netns_walk_step() passes a pointer to it to the callback */
	struct mib_cpus cpus;
};

static __always_inline bool write_row(struct netns_walk *netns, struct net *net, __u32 flags)
{
	return mib_write(netns->rows, net, flags, &((struct mib_walk *)netns)->cpus);
}

static long step(__u64 index, struct mib_walk *walk)
{
	return netns_walk_step(index, &walk->netns, write_row);
}

/*
 * Arguments: number of namespaces to skip, maximum number of rows, number of entries in percpu_cpus, whether to
 * continue after the previous slice. Returns an enum netns_walk_result.
 */
SEC("raw_tp/sys_enter")
int mib_read(struct bpf_raw_tracepoint_args *ctx)
{
	struct mib_walk walk = {.cpus = {.anchor = percpu_anchor_base(), .count = ctx->args[2]}};

	netns_walk_begin(&walk.netns, ctx->args[0], ctx->args[1], ctx->args[3]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk.netns);
}

char LICENSE[] SEC("license") = "GPL";
