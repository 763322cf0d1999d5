// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the devices of every network namespace with the counts that `ip -s link` shows.
 *
 * dev_get_stats() (kernel: net/core/dev.c) calls a function of the driver, if it has one. Otherwise it sums the counts
 * that the network core keeps for the device. The walk reads all devices of the latter type. It also supports some
 * kinds of the former type, by reading the same counts as the driver's function. A safety check applies to each of
 * these kinds: a driver that ignores net_device.stats may start to use it in a later kernel, so the walk does not read
 * devices with counts in net_device.stats.
 */
#include "netdev.bpf.h"

#define DEVICES_MAX (1 << 20) /* per namespace; a longer list is corrupted */
#define ROWS_MIN 4 /* minimum per call, even if its time is over, so that the walk advances */
#define QUEUES_MAX 4096 /* kernel: include/uapi/linux/if_link.h, maximum of a virtual device */
#define IFF_LOOPBACK 0x8

/* Indices of 64-bit words. User space has verified that the kernel's structs have this layout. */
enum tstats_word { TSTATS_RX_PACKETS, TSTATS_RX_BYTES, TSTATS_TX_PACKETS, TSTATS_TX_BYTES, TSTATS_WORDS };
enum lstats_word { LSTATS_PACKETS, LSTATS_BYTES, LSTATS_WORDS };
enum core_word { CORE_RX_DROPPED, CORE_TX_DROPPED, CORE_WORDS };
#define DSTATS_WORDS 6
enum vlan_word {
	VLAN_RX_PACKETS,
	VLAN_RX_BYTES,
	VLAN_RX_MULTICAST,
	VLAN_TX_PACKETS,
	VLAN_TX_BYTES,
	VLAN_RX_ERRORS, /* 32 bits, followed by TX_DROPPED */
	VLAN_WORDS,
	VLAN_TX_DROPPED = VLAN_WORDS,
};
enum veth_word {
	VETH_RX_DROPS,
	VETH_XDP_PACKETS,
	VETH_XDP_BYTES,
	VETH_XDP_TX_ERR = 6,
	VETH_PEER_XMIT_ERR = 8,
	VETH_WORDS,
};
enum ifb_word { IFB_PACKETS, IFB_BYTES, IFB_WORDS };
enum stats_word {
	STATS_RX_PACKETS,
	STATS_TX_PACKETS,
	STATS_RX_BYTES,
	STATS_TX_BYTES,
	STATS_RX_ERRORS,
	STATS_TX_ERRORS,
	STATS_RX_DROPPED,
	STATS_TX_DROPPED,
	STATS_MULTICAST,
	STATS_COLLISIONS,
	STATS_RX_LENGTH_ERRORS,
	STATS_RX_OVER_ERRORS,
	STATS_RX_CRC_ERRORS,
	STATS_RX_FRAME_ERRORS,
	STATS_RX_FIFO_ERRORS,
	STATS_RX_MISSED_ERRORS,
	STATS_TX_ABORTED_ERRORS,
	STATS_TX_CARRIER_ERRORS,
	STATS_TX_FIFO_ERRORS,
	STATS_TX_HEARTBEAT_ERRORS,
	STATS_TX_WINDOW_ERRORS,
	STATS_WORDS = 23,
};

/* True if struct pcpu_dstats has the six counts of rx and tx packets, bytes and drops, as it does since 6.7. */
const volatile bool has_dstats;
const volatile __u8 dstats_words[DSTATS_WORDS];

static struct {
	__u64 deadline;
	__u64 position, head, net, cookie, last;
	__u32 flags, skip, left, rows, cpus, stopped;
} walk;

/* Position of the last row among the devices of its namespace, kept between slices. */
static __u32 last_device;

/* State of the current sum. */
static struct {
	__u64 from;
	__u64 words[8];
	__u32 stride;
	__u32 failed;
} sum;

static __u64 stats[STATS_WORDS];

static __always_inline void *read_pointer(const void *place)
{
	void *pointer = NULL;

	bpf_probe_read_kernel(&pointer, sizeof(pointer), place);
	return pointer;
}

/* Adds the words of the nth CPU. */
static __always_inline long add_share(__u32 nth, const __u32 words)
{
	const __u64 *offset = bpf_map_lookup_elem(&netdev_offsets, &nth);
	__u64 share[VLAN_WORDS];

	if (!offset || bpf_probe_read_kernel(share, words * sizeof(__u64), (void *)(sum.from + *offset))) {
		sum.failed = 1;
		return 1;
	}
	for (__u32 i = 0; i < words; i++)
		sum.words[i] += share[i];
	return 0;
}

static long add_lstats(__u64 nth, void *context)
{
	return add_share(nth, LSTATS_WORDS);
}

static long add_core(__u64 nth, void *context)
{
	return add_share(nth, CORE_WORDS);
}

static long add_tstats(__u64 nth, void *context)
{
	return add_share(nth, TSTATS_WORDS);
}

static long add_dstats(__u64 nth, void *context)
{
	return add_share(nth, DSTATS_WORDS);
}

/* Sums VLAN counts, whose last word contains two counts. */
static long add_vlan(__u64 nth, void *context)
{
	__u64 errors = (__u32)sum.words[VLAN_RX_ERRORS], before = sum.words[VLAN_RX_ERRORS];
	long stop = add_share(nth, VLAN_WORDS);
	__u64 share = sum.words[VLAN_RX_ERRORS] - before;

	/* The kernel also sums them in 32 bits. */
	sum.words[VLAN_RX_ERRORS] = (__u32)(errors + share);
	sum.words[VLAN_TX_DROPPED] = (__u32)(sum.words[VLAN_TX_DROPPED] + (share >> 32));
	return stop;
}

static long add_veth_queue(__u64 nth, void *context)
{
	__u64 words[VETH_WORDS];

	if (bpf_probe_read_kernel(words, sizeof(words), (void *)(sum.from + nth * sum.stride))) {
		sum.failed = 1;
		return 1;
	}
	sum.words[0] += words[VETH_RX_DROPS];
	sum.words[1] += words[VETH_XDP_PACKETS];
	sum.words[2] += words[VETH_XDP_BYTES];
	sum.words[3] += words[VETH_XDP_TX_ERR];
	sum.words[4] += words[VETH_PEER_XMIT_ERR];
	return 0;
}

static long add_ifb_queue(__u64 nth, void *context)
{
	__u64 words[IFB_WORDS];

	if (bpf_probe_read_kernel(words, sizeof(words), (void *)(sum.from + nth * sum.stride))) {
		sum.failed = 1;
		return 1;
	}
	sum.words[IFB_PACKETS] += words[IFB_PACKETS];
	sum.words[IFB_BYTES] += words[IFB_BYTES];
	return 0;
}

static __always_inline void begin_sum(const void *from)
{
	sum.from = (__u64)from;
	__builtin_memset(sum.words, 0, sizeof(sum.words));
}

#define SUM_CPUS(from, add)                        \
	{                                          \
		begin_sum(from);                   \
		bpf_loop(walk.cpus, add, NULL, 0); \
	}

static __always_inline enum netdev_stat_type stat_type(struct net_device *device)
{
	if (!bpf_core_field_exists(device->pcpu_stat_type))
		return NETDEV_PCPU_STAT_NONE;
	return BPF_CORE_READ_BITFIELD_PROBED(device, pcpu_stat_type);
}

static __always_inline void add_tstats_to(struct netdev_row *row)
{
	row->counters[NETDEV_RX_PACKETS] += sum.words[TSTATS_RX_PACKETS];
	row->counters[NETDEV_RX_BYTES] += sum.words[TSTATS_RX_BYTES];
	row->counters[NETDEV_TX_PACKETS] += sum.words[TSTATS_TX_PACKETS];
	row->counters[NETDEV_TX_BYTES] += sum.words[TSTATS_TX_BYTES];
}

static __always_inline void add_stats_to(struct netdev_row *row)
{
	__u64 *counters = row->counters;

	counters[NETDEV_RX_PACKETS] += stats[STATS_RX_PACKETS];
	counters[NETDEV_TX_PACKETS] += stats[STATS_TX_PACKETS];
	counters[NETDEV_RX_BYTES] += stats[STATS_RX_BYTES];
	counters[NETDEV_TX_BYTES] += stats[STATS_TX_BYTES];
	counters[NETDEV_RX_ERRORS] += stats[STATS_RX_ERRORS];
	counters[NETDEV_TX_ERRORS] += stats[STATS_TX_ERRORS];
	counters[NETDEV_RX_DROPS] += stats[STATS_RX_DROPPED] + stats[STATS_RX_MISSED_ERRORS];
	counters[NETDEV_TX_DROPS] += stats[STATS_TX_DROPPED];
	counters[NETDEV_RX_MULTICAST] += stats[STATS_MULTICAST];
	counters[NETDEV_COLLISIONS] += stats[STATS_COLLISIONS];
	counters[NETDEV_RX_FRAME] += stats[STATS_RX_LENGTH_ERRORS] + stats[STATS_RX_OVER_ERRORS] +
				     stats[STATS_RX_CRC_ERRORS] + stats[STATS_RX_FRAME_ERRORS];
	counters[NETDEV_RX_FIFO] += stats[STATS_RX_FIFO_ERRORS];
	counters[NETDEV_TX_FIFO] += stats[STATS_TX_FIFO_ERRORS];
	counters[NETDEV_TX_CARRIER] += stats[STATS_TX_CARRIER_ERRORS] + stats[STATS_TX_ABORTED_ERRORS] +
				       stats[STATS_TX_WINDOW_ERRORS] + stats[STATS_TX_HEARTBEAT_ERRORS];
}

/* Returns whether net_device.stats has counts other than those that the driver is known to use. */
static __always_inline bool has_other_stats(__u32 known)
{
	__u64 others = 0;

#pragma unroll
	for (__u32 i = 0; i < STATS_WORDS; i++) {
		if (!(known & (1U << i)))
			others |= stats[i];
	}
	return others != 0;
}

/* Kernel: dev_get_tstats64(), dev_get_dstats64(). */
static __always_inline bool read_core(struct net_device *device, struct netdev_row *row, enum netdev_stat_type type)
{
	const void *shares = BPF_CORE_READ(device, tstats);

	add_stats_to(row);
	if (!shares || type == NETDEV_PCPU_STAT_NONE || type == NETDEV_PCPU_STAT_LSTATS)
		return true;
	if (type == NETDEV_PCPU_STAT_TSTATS) {
		SUM_CPUS(shares, add_tstats)
		add_tstats_to(row);
		return true;
	}
	if (type != NETDEV_PCPU_STAT_DSTATS || !has_dstats)
		return false;
	SUM_CPUS(shares, add_dstats)
	row->counters[NETDEV_RX_PACKETS] += sum.words[dstats_words[0] & 7];
	row->counters[NETDEV_RX_BYTES] += sum.words[dstats_words[1] & 7];
	row->counters[NETDEV_TX_PACKETS] += sum.words[dstats_words[2] & 7];
	row->counters[NETDEV_TX_BYTES] += sum.words[dstats_words[3] & 7];
	row->counters[NETDEV_RX_DROPS] += sum.words[dstats_words[4] & 7];
	row->counters[NETDEV_TX_DROPS] += sum.words[dstats_words[5] & 7];
	return true;
}

/* Reads a device whose driver reports the core's sums. A driver that does not set the kind of counts has tstats. */
static __always_inline bool read_as_core(struct net_device *device, struct netdev_row *row)
{
	enum netdev_stat_type type = stat_type(device);

	if (type == NETDEV_PCPU_STAT_LSTATS)
		return false;
	return read_core(device, row, type == NETDEV_PCPU_STAT_NONE ? NETDEV_PCPU_STAT_TSTATS : type);
}

/*
 * Sums the traffic of a device into words of tstats. A device with lstats has only sent traffic.
 * @param known kind of counts that the driver uses if the device does not specify it
 */
static __always_inline bool sum_traffic(struct net_device *device, enum netdev_stat_type known)
{
	const void *shares = BPF_CORE_READ(device, tstats);
	enum netdev_stat_type type = stat_type(device);

	if (type == NETDEV_PCPU_STAT_NONE)
		type = known;
	if (!shares)
		return false;
	if (type == NETDEV_PCPU_STAT_TSTATS) {
		SUM_CPUS(shares, add_tstats)
		return true;
	}
	if (type != NETDEV_PCPU_STAT_LSTATS)
		return false;
	SUM_CPUS(shares, add_lstats)
	sum.words[TSTATS_TX_PACKETS] = sum.words[LSTATS_PACKETS];
	sum.words[TSTATS_TX_BYTES] = sum.words[LSTATS_BYTES];
	sum.words[TSTATS_RX_PACKETS] = sum.words[TSTATS_RX_BYTES] = 0;
	return true;
}

/* If the kernel has pcpu_stat_type, veth sets it and uses tstats. On earlier kernels, veth uses lstats. */
static __always_inline bool sum_veth(struct net_device *device)
{
	return sum_traffic(device, bpf_core_field_exists(device->pcpu_stat_type) ? NETDEV_PCPU_STAT_NONE
										 : NETDEV_PCPU_STAT_LSTATS);
}

/* Kernel: drivers/net/loopback.c, loopback_get_stats64(). */
static __always_inline bool read_loopback(struct net_device *device, struct netdev_row *row)
{
	if (has_other_stats(0) || !sum_traffic(device, NETDEV_PCPU_STAT_LSTATS))
		return false;
	row->counters[NETDEV_RX_PACKETS] = row->counters[NETDEV_TX_PACKETS] = sum.words[TSTATS_TX_PACKETS];
	row->counters[NETDEV_RX_BYTES] = row->counters[NETDEV_TX_BYTES] = sum.words[TSTATS_TX_BYTES];
	return true;
}

/* Kernel: drivers/net/dummy.c, dummy_get_stats64(). */
static __always_inline bool read_dummy(struct net_device *device, struct netdev_row *row)
{
	if (has_other_stats(0) || stat_type(device) == NETDEV_PCPU_STAT_TSTATS ||
	    !sum_traffic(device, NETDEV_PCPU_STAT_LSTATS))
		return false;
	row->counters[NETDEV_TX_PACKETS] = sum.words[TSTATS_TX_PACKETS];
	row->counters[NETDEV_TX_BYTES] = sum.words[TSTATS_TX_BYTES];
	return true;
}

static __always_inline void sum_veth_queues(struct net_device *device, const struct netdev_kind *kind)
{
	__u32 queues = BPF_CORE_READ(device, num_rx_queues);

	begin_sum(read_pointer((void *)device + kind->queues) + kind->queue_rx);
	sum.stride = kind->queue_bytes;
	bpf_loop(queues < QUEUES_MAX ? queues : QUEUES_MAX, add_veth_queue, NULL, 0);
}

/* Kernel: drivers/net/veth.c, veth_get_stats64(). */
static __always_inline bool read_veth(struct net_device *device, struct netdev_row *row, const struct netdev_kind *kind,
				      struct net_device *peer)
{
	__u64 *counters = row->counters;

	if (has_other_stats(0) || !sum_veth(device))
		return false;
	add_tstats_to(row);
	bpf_probe_read_kernel(&counters[NETDEV_TX_DROPS], sizeof(__u64), (void *)device + kind->dropped);
	sum_veth_queues(device, kind);
	counters[NETDEV_TX_DROPS] += sum.words[3];
	counters[NETDEV_RX_DROPS] = sum.words[0] + sum.words[4];
	counters[NETDEV_RX_PACKETS] += sum.words[1];
	counters[NETDEV_RX_BYTES] += sum.words[2];
	if (!peer)
		return true;
	if (!sum_veth(peer))
		return false;
	counters[NETDEV_RX_PACKETS] += sum.words[TSTATS_TX_PACKETS];
	counters[NETDEV_RX_BYTES] += sum.words[TSTATS_TX_BYTES];
	sum_veth_queues(peer, kind);
	counters[NETDEV_TX_DROPS] += sum.words[4];
	counters[NETDEV_RX_DROPS] += sum.words[3];
	counters[NETDEV_TX_PACKETS] += sum.words[1];
	counters[NETDEV_TX_BYTES] += sum.words[2];
	return true;
}

/* Kernel: drivers/net/netkit.c, netkit_get_stats(). */
static __always_inline bool read_netkit(struct net_device *device, struct netdev_row *row)
{
	if (has_other_stats(1U << STATS_TX_DROPPED) || stat_type(device) != NETDEV_PCPU_STAT_TSTATS)
		return false;
	return read_core(device, row, NETDEV_PCPU_STAT_TSTATS);
}

/* Kernel: vlan_dev_get_stats64(), macvlan_dev_get_stats64(), ipvlan_get_stats64(). */
static __always_inline bool read_vlan(struct net_device *device, struct netdev_row *row, const struct netdev_kind *kind)
{
	const void *shares = read_pointer((void *)device + kind->shares);
	__u64 *counters = row->counters;

	if (has_other_stats(0) || !shares)
		return false;
	SUM_CPUS(shares, add_vlan)
	counters[NETDEV_RX_PACKETS] = sum.words[VLAN_RX_PACKETS];
	counters[NETDEV_RX_BYTES] = sum.words[VLAN_RX_BYTES];
	counters[NETDEV_RX_MULTICAST] = sum.words[VLAN_RX_MULTICAST];
	counters[NETDEV_TX_PACKETS] = sum.words[VLAN_TX_PACKETS];
	counters[NETDEV_TX_BYTES] = sum.words[VLAN_TX_BYTES];
	counters[NETDEV_RX_ERRORS] = sum.words[VLAN_RX_ERRORS];
	counters[NETDEV_TX_DROPS] = sum.words[VLAN_TX_DROPPED];
	if (kind->are_errors_drops)
		counters[NETDEV_RX_DROPS] = sum.words[VLAN_RX_ERRORS];
	return true;
}

static __always_inline void sum_ifb_queues(const void *counts, const struct netdev_kind *kind, __u32 queues)
{
	begin_sum(counts);
	sum.stride = kind->queue_bytes;
	bpf_loop(queues < QUEUES_MAX ? queues : QUEUES_MAX, add_ifb_queue, NULL, 0);
}

/* Kernel: drivers/net/ifb.c, ifb_stats64(). */
static __always_inline bool read_ifb(struct net_device *device, struct netdev_row *row, const struct netdev_kind *kind)
{
	const void *queues = read_pointer((void *)device + kind->queues);
	__u32 count = BPF_CORE_READ(device, num_tx_queues);
	__u64 *counters = row->counters;

	if (has_other_stats(1U << STATS_RX_DROPPED | 1U << STATS_TX_DROPPED) || !queues)
		return false;
	sum_ifb_queues(queues + kind->queue_rx, kind, count);
	counters[NETDEV_RX_PACKETS] = sum.words[IFB_PACKETS];
	counters[NETDEV_RX_BYTES] = sum.words[IFB_BYTES];
	sum_ifb_queues(queues + kind->queue_tx, kind, count);
	counters[NETDEV_TX_PACKETS] = sum.words[IFB_PACKETS];
	counters[NETDEV_TX_BYTES] = sum.words[IFB_BYTES];
	counters[NETDEV_RX_DROPS] = stats[STATS_RX_DROPPED];
	counters[NETDEV_TX_DROPS] = stats[STATS_TX_DROPPED];
	return true;
}

/* Kernel: drivers/net/tun.c, tun_net_get_stats64(). */
static __always_inline bool read_tun(struct net_device *device, struct netdev_row *row, const struct netdev_kind *kind)
{
	__u64 errors = 0;

	if (bpf_probe_read_kernel(&errors, sizeof(errors), (void *)device + kind->frame_errors))
		return false;
	row->counters[NETDEV_RX_FRAME] += errors;
	return read_as_core(device, row);
}

static __always_inline bool read_kind(struct net_device *device, struct netdev_row *row, const struct netdev_kind *kind,
				      struct net_device *peer)
{
	switch (kind->recipe) {
	case NETDEV_AS_CORE:
		return read_as_core(device, row);
	case NETDEV_AS_TUN:
		return read_tun(device, row, kind);
	case NETDEV_AS_DUMMY:
		return read_dummy(device, row);
	case NETDEV_AS_VETH:
		return read_veth(device, row, kind, peer);
	case NETDEV_AS_NETKIT:
		return read_netkit(device, row);
	case NETDEV_AS_VLAN:
		return read_vlan(device, row, kind);
	case NETDEV_AS_IFB:
		return read_ifb(device, row, kind);
	}
	return false;
}

static __always_inline bool is_counted_by_driver(struct net_device *device)
{
	const struct net_device_ops *ops = BPF_CORE_READ(device, netdev_ops);

	return BPF_CORE_READ(ops, ndo_get_stats64) || BPF_CORE_READ(ops, ndo_get_stats);
}

/* Adds the counts that the core adds to those of every driver. */
static __always_inline void add_core_stats(struct net_device *device, struct netdev_row *row)
{
	const void *shares = BPF_CORE_READ(device, core_stats);

	if (!shares)
		return;
	SUM_CPUS(shares, add_core)
	row->counters[NETDEV_RX_DROPS] += sum.words[CORE_RX_DROPPED];
	row->counters[NETDEV_TX_DROPS] += sum.words[CORE_TX_DROPPED];
}

/*
 * Returns the link bits. For a pair, the other end is known. A driver without get_link_net() has no link (kernel:
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
 * Arguments: devices to skip, rows to write, number of CPUs in percpu_cpus, maximum duration of the call in
 * nanoseconds, whether to continue after the previous slice.
 */
SEC("raw_tp/sys_enter")
int netdev_read(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 start = bpf_ktime_get_ns(), base = percpu_anchor_base();
	struct netns_walk netns = {};

	__builtin_memset(&walk, 0, sizeof(walk));
	walk.skip = ctx->args[0];
	walk.left = ctx->args[1];
	walk.cpus = ctx->args[2];
	walk.deadline = start + ctx->args[3];
	bpf_loop(walk.cpus, find_offset, &base, 0);
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
