// SPDX-License-Identifier: GPL-2.0-only
/* Lists the network namespaces of the machine: cookie, inode number, and whether one is the first or dying. */
#include "common/netns_walk.bpf.h"

struct netns_row {
	__u64 cookie;
	__u32 inum;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct netns_row);
} netns_rows SEC(".maps");

static __always_inline bool write_row(struct netns_walk *walk, struct net *net, __u32 flags)
{
	__u32 index = walk->rows;
	struct netns_row *row = bpf_map_lookup_elem(&netns_rows, &index);

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->inum = BPF_CORE_READ(net, ns.inum);
	row->flags = flags;
	return true;
}

static long step(__u64 index, struct netns_walk *walk)
{
	return netns_walk_step(index, walk, write_row);
}

/* args: namespaces to skip, rows to write. */
SEC("raw_tp/sys_enter")
int netns_list(struct bpf_raw_tracepoint_args *ctx)
{
	struct netns_walk walk = {};

	netns_walk_begin(&walk, ctx->args[0], ctx->args[1]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk);
}

char LICENSE[] SEC("license") = "GPL";
