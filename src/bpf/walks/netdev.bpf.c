// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the devices of every network namespace with the counters that `ip -s link` shows.
 *
 * If the driver has its own statistics function, dev_get_stats() (kernel: net/core/dev.c) calls it. Otherwise it sums
 * the counters that the network core keeps for the device. The walk supports all devices without such a function, and
 * some kinds of devices with one, for which it reads the same counters as the function. A driver that ignores
 * net_device.stats may start to use it in a later kernel. Therefore devices of these kinds are skipped if
 * net_device.stats has unexpected counts.
 */
#include "netdev_kinds.bpf.h"

#define DEVICES_MAX (1 << 20) /* maximum number of devices per namespace; a longer list is assumed to be corrupted */
#define ROWS_MIN 4 /* minimum number of rows per call, even after the deadline, so that each call makes progress */
#define IFF_LOOPBACK 0x8

static struct {
	__u64 deadline;
	__u64 position, head, net, cookie, last;
	__u32 flags, skip, left, rows, stopped;
} walk;

/* Index of the last row's device in the device list of its namespace, for the next slice. */
static __u32 last_device;

/*
 * Returns the NETDEV_IS_LINK… bits. The devices of a pair point to each other. For other kinds, only the driver's
 * function get_link_net() returns the namespace of the link; devices of other drivers have no link (kernel:
 * rtnl_fill_link_netnsid()).
 */
static __always_inline __u32 link_bits(const struct rtnl_link_ops *ops, bool is_pair, struct net_device *peer)
{
	if (is_pair)
		return peer && (__u64)BPF_CORE_READ(peer, nd_net.net) != walk.net ? NETDEV_IS_LINKED_OUTSIDE : 0;
	return ops && BPF_CORE_READ(ops, get_link_net) ? NETDEV_IS_LINK_UNKNOWN : 0;
}

static __always_inline void write_device(struct net_device *device, struct netdev_row *row)
{
	const struct rtnl_link_ops *ops = BPF_CORE_READ(device, rtnl_link_ops);
	bool is_loopback = BPF_CORE_READ(device, flags) & IFF_LOOPBACK;
	const struct netdev_kind *kind = NULL;
	struct net_device *peer = NULL;
	struct netdev_kind_name name = {};
	bool is_counted;

	row->cookie = walk.cookie;
	row->flags = walk.flags;
	row->ifindex = BPF_CORE_READ(device, ifindex);
	BPF_CORE_READ_INTO(&row->name, device, name);
	__builtin_memset(row->counters, 0, sizeof(row->counters));
	if (ops) {
		bpf_probe_read_kernel_str(name.text, sizeof(name.text), BPF_CORE_READ(ops, kind));
		kind = bpf_map_lookup_elem(&netdev_kinds, &name);
	}
	__builtin_memcpy(row->kind, name.text, sizeof(row->kind));
	if (kind && kind->peer)
		peer = read_pointer((void *)device + kind->peer);
	sum.failed = 0;
	if (bpf_probe_read_kernel(stats, sizeof(stats), &device->stats))
		is_counted = false;
	else if (!is_counted_by_driver(device))
		is_counted = read_core(device, row, stat_type(device));
	else if (is_loopback)
		is_counted = read_loopback(device, row);
	else
		is_counted = kind && read_kind(device, row, kind, peer);
	add_core_stats(device, row);
	row->is = (is_loopback ? NETDEV_IS_LOOPBACK : 0) | (is_counted && !sum.failed ? NETDEV_IS_COUNTED : 0) |
		  link_bits(ops, kind && kind->peer, peer);
}

static long device_step(__u64 index, void *context)
{
	struct list_head *position = (void *)walk.position;
	__u32 place = walk.rows;
	struct netdev_row *row;

	if ((__u64)position == walk.head)
		return 1;
	walk.position = (__u64)BPF_CORE_READ(position, next);
	if (walk.skip) {
		walk.skip--;
		return 0;
	}
	row = walk.left ? bpf_map_lookup_elem(&netdev_rows, &place) : NULL;
	if (!row) {
		walk.stopped = 1;
		return 1;
	}
	write_device((void *)position - bpf_core_field_offset(struct net_device, dev_list), row);
	walk.last = walk.net;
	last_device = index;
	walk.left--;
	walk.rows++;
	if (walk.rows < ROWS_MIN || bpf_ktime_get_ns() < walk.deadline)
		return 0;
	walk.stopped = 1;
	return 1;
}

static __always_inline bool write_devices(struct netns_walk *netns, struct net *net, __u32 flags)
{
	walk.net = (__u64)net;
	walk.cookie = BPF_CORE_READ(net, net_cookie);
	walk.flags = flags;
	walk.head = (__u64)net + bpf_core_field_offset(struct net, dev_base_head);
	walk.position = (__u64)BPF_CORE_READ(net, dev_base_head.next);
	bpf_loop(DEVICES_MAX, device_step, NULL, 0);
	return !walk.stopped;
}

static long step(__u64 index, struct netns_walk *netns)
{
	return netns_walk_step(index, netns, write_devices);
}

static long find_offset(__u64 nth, __u64 *base)
{
	__u32 index = nth;
	__u64 *offset = bpf_map_lookup_elem(&netdev_offsets, &index);

	if (offset && percpu_offset(index, *base, offset))
		return 0;
	walk.stopped = 1;
	return 1;
}

static __always_inline void count_effort(__u64 ns)
{
	__u32 zero = 0;
	struct netdev_effort *effort = bpf_map_lookup_elem(&netdev_effort_cell, &zero);

	if (!effort)
		return;
	effort->calls++;
	effort->ns += ns;
	if (ns > effort->longest_ns)
		effort->longest_ns = ns;
}

/*
 * Arguments: number of devices to skip, maximum number of rows, number of entries in percpu_cpus, maximum duration of
 * the call in nanoseconds, whether to continue after the previous slice. Returns an enum netns_walk_result.
 */
SEC("raw_tp/sys_enter")
int netdev_read(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 start = bpf_ktime_get_ns(), base = percpu_anchor_base();
	struct netns_walk netns = {};

	__builtin_memset(&walk, 0, sizeof(walk));
	walk.skip = ctx->args[0];
	walk.left = ctx->args[1];
	cpus = ctx->args[2];
	walk.deadline = start + ctx->args[3];
	bpf_loop(cpus, find_offset, &base, 0);
	if (walk.stopped)
		return 0;
	if (netns_walk_begin(&netns, 0, NETNS_WALK_MAX, ctx->args[4]))
		walk.skip = last_device;
	bpf_loop(NETNS_WALK_MAX, step, &netns, 0);
	netns.rows = walk.rows;
	netns.last = walk.last ? (void *)walk.last + bpf_core_field_offset(struct net, list) : NULL;
	count_effort(bpf_ktime_get_ns() - start);
	return netns_walk_result(&netns);
}

char LICENSE[] SEC("license") = "GPL";
