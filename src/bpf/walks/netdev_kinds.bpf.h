// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "netdev_sums.bpf.h"

/* Functions that compute the counters of a device as its driver does. */

#define QUEUES_MAX 4096 /* maximum number of queues of a virtual device; kernel: include/uapi/linux/if_link.h */

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

/* Returns whether net_device.stats has nonzero counts other than those that the driver is known to use. */
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

/* Equivalent to dev_get_tstats64() and dev_get_dstats64() (kernel: net/core/dev.c). */
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

/* Reads a device whose driver returns the core's sums. A driver that does not set pcpu_stat_type uses tstats. */
static __always_inline bool read_as_core(struct net_device *device, struct netdev_row *row)
{
	enum netdev_stat_type type = stat_type(device);

	if (type == NETDEV_PCPU_STAT_LSTATS)
		return false;
	return read_core(device, row, type == NETDEV_PCPU_STAT_NONE ? NETDEV_PCPU_STAT_TSTATS : type);
}

/*
 * Sums the traffic of a device into the words of tstats. lstats count only sent packets, so received traffic is then 0.
 * @param known counter type that the driver uses if it does not set pcpu_stat_type
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

/* On kernels with pcpu_stat_type, veth sets it and uses tstats. On earlier kernels, veth uses lstats. */
static __always_inline bool sum_veth(struct net_device *device)
{
	return sum_traffic(device, bpf_core_field_exists(device->pcpu_stat_type) ? NETDEV_PCPU_STAT_NONE
										 : NETDEV_PCPU_STAT_LSTATS);
}

/* Equivalent to loopback_get_stats64() (kernel: drivers/net/loopback.c). */
static __always_inline bool read_loopback(struct net_device *device, struct netdev_row *row)
{
	if (has_other_stats(0) || !sum_traffic(device, NETDEV_PCPU_STAT_LSTATS))
		return false;
	row->counters[NETDEV_RX_PACKETS] = row->counters[NETDEV_TX_PACKETS] = sum.words[TSTATS_TX_PACKETS];
	row->counters[NETDEV_RX_BYTES] = row->counters[NETDEV_TX_BYTES] = sum.words[TSTATS_TX_BYTES];
	return true;
}

/* Equivalent to dummy_get_stats64() (kernel: drivers/net/dummy.c). */
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

/* Equivalent to veth_get_stats64() (kernel: drivers/net/veth.c). */
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

/* Equivalent to netkit_get_stats() (kernel: drivers/net/netkit.c). */
static __always_inline bool read_netkit(struct net_device *device, struct netdev_row *row)
{
	if (has_other_stats(1U << STATS_TX_DROPPED) || stat_type(device) != NETDEV_PCPU_STAT_TSTATS)
		return false;
	return read_core(device, row, NETDEV_PCPU_STAT_TSTATS);
}

/* Equivalent to vlan_dev_get_stats64(), macvlan_dev_get_stats64() and ipvlan_get_stats64() in the kernel. */
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

/* Equivalent to ifb_stats64() (kernel: drivers/net/ifb.c). */
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

/* Equivalent to tun_net_get_stats64() (kernel: drivers/net/tun.c). */
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

/* Adds core_stats, as the network core does for every driver. */
static __always_inline void add_core_stats(struct net_device *device, struct netdev_row *row)
{
	const void *shares = BPF_CORE_READ(device, core_stats);

	if (!shares)
		return;
	SUM_CPUS(shares, add_core)
	row->counters[NETDEV_RX_DROPS] += sum.words[CORE_RX_DROPPED];
	row->counters[NETDEV_TX_DROPS] += sum.words[CORE_TX_DROPPED];
}
