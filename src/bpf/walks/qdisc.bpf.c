// SPDX-License-Identifier: GPL-2.0-only
/* Finds the network namespaces in which a device has a queue. User space dumps qdiscs only in these namespaces. */
#include "common/netns_walk.bpf.h"

#define DEVICES_MAX 8192

struct qdisc_row {
	__u64 cookie;
	__u32 flags;
	__u32 has_queue;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct qdisc_row);
} qdisc_rows SEC(".maps");

struct device_walk {
	struct list_head *position, *head;
	__u32 has_queue;
};

/* Returns whether a qdisc has no counters: `noqueue`, or `noop` on a device that is down. */
static __always_inline bool is_none(struct Qdisc *qdisc)
{
	char id[4] = {};

	bpf_probe_read_kernel(id, sizeof(id), BPF_CORE_READ(qdisc, ops)->id);
	return id[0] == 'n' && id[1] == 'o' && (id[2] == 'q' || id[2] == 'o');
}

/*
 * Returns whether the device has an ingress queue. The kernel creates it with the first ingress qdisc and never removes
 * it, so only a dump shows whether it is in use.
 */
static __always_inline bool has_ingress(struct net_device *device)
{
	return bpf_core_field_exists(device->ingress_queue) && BPF_CORE_READ(device, ingress_queue);
}

static long device_step(__u64 step, struct device_walk *walk)
{
	struct list_head *position = walk->position;
	struct net_device *device = (void *)position - bpf_core_field_offset(struct net_device, dev_list);

	if (position == walk->head)
		return 1;
	walk->position = BPF_CORE_READ(position, next);
	if (!is_none(BPF_CORE_READ(device, qdisc)) || has_ingress(device)) {
		walk->has_queue = 1;
		return 1;
	}
	return 0;
}

static __always_inline bool write_row(struct netns_walk *walk, struct net *net, __u32 flags)
{
	__u32 index = walk->rows;
	struct qdisc_row *row = bpf_map_lookup_elem(&qdisc_rows, &index);
	struct device_walk devices = {.head = (void *)net + bpf_core_field_offset(struct net, dev_base_head)};

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	devices.position = BPF_CORE_READ(net, dev_base_head.next);
	/* If the loop does not reach the end of the list, the namespace is dumped in any case. */
	if (bpf_loop(DEVICES_MAX, device_step, &devices, 0) == DEVICES_MAX)
		devices.has_queue = 1;
	row->has_queue = devices.has_queue;
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
int qdisc_find(struct bpf_raw_tracepoint_args *ctx)
{
	struct netns_walk walk = {};

	netns_walk_begin(&walk, ctx->args[0], ctx->args[1], ctx->args[2]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk);
}

char LICENSE[] SEC("license") = "GPL";
