// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/netns_walk.bpf.h"
#include "common/percpu.bpf.h"
#include "common/shared.bpf.h"

/* Interface between user space and the walk over devices. */

/* The counters of net/dev, some of which are sums (kernel: net/core/net-procfs.c, dev_seq_printf_stats()). */
enum netdev_counter {
	NETDEV_RX_BYTES,
	NETDEV_RX_PACKETS,
	NETDEV_RX_ERRORS,
	NETDEV_RX_DROPS,
	NETDEV_RX_FIFO,
	NETDEV_RX_FRAME,
	NETDEV_RX_MULTICAST,
	NETDEV_TX_BYTES,
	NETDEV_TX_PACKETS,
	NETDEV_TX_ERRORS,
	NETDEV_TX_DROPS,
	NETDEV_TX_FIFO,
	NETDEV_COLLISIONS,
	NETDEV_TX_CARRIER,
};

#define NETDEV_COUNTERS (NETDEV_TX_CARRIER + 1)

/* Ways to compute the counters of a device, each equivalent to one or more drivers' ndo_get_stats64(). */
enum netdev_recipe {
	NETDEV_AS_CORE, /* dev_get_tstats64() */
	NETDEV_AS_TUN, /* like NETDEV_AS_CORE, plus frame errors */
	NETDEV_AS_DUMMY, /* lstats, which count only sent packets */
	NETDEV_AS_VETH,
	NETDEV_AS_NETKIT,
	NETDEV_AS_VLAN, /* struct vlan_pcpu_stats, or a struct with the same layout */
	NETDEV_AS_IFB,
};

/* Bits of netdev_row.is. */
enum netdev_is {
	NETDEV_IS_LOOPBACK = 1,
	NETDEV_IS_COUNTED = 2, /* the counters are valid; otherwise they must be queried through netlink */
	NETDEV_IS_LINKED_OUTSIDE = 4, /* the linked device is in another namespace */
	NETDEV_IS_LINK_UNKNOWN = 8, /* whether the device is linked cannot be determined without calling the driver */
};

SHARED_ENUM(netdev_counter);
SHARED_ENUM(netdev_recipe);
SHARED_ENUM(netdev_is);

struct netdev_kind_name {
	char text[16];
};

/*
 * Layout of a driver's private data for one kind of device. Offsets are in bytes from the start of struct net_device
 * unless noted otherwise.
 */
struct netdev_kind {
	__u32 recipe;
	__u32 peer; /* pointer to the peer device of a pair */
	__u32 dropped; /* veth: number of packets that could not be passed to the peer */
	__u32 queues; /* pointer to the array of queues */
	__u32 queue_bytes; /* size of an array element */
	__u32 queue_rx; /* offset of the receive counters in an array element */
	__u32 queue_tx;
	__u32 shares; /* pointer to per-CPU counters */
	__u32 are_errors_drops; /* whether packets received with errors also count as dropped */
	__u32 frame_errors;
};

struct netdev_row {
	__u64 cookie;
	__u32 flags; /* flags of the namespace */
	__u32 ifindex;
	__u32 is;
	__u8 name[16]; /* arbitrary bytes; without a NUL if all 16 are used */
	char kind[16];
	__u64 counters[NETDEV_COUNTERS];
};

/* Cost of all calls together. */
struct netdev_effort {
	__u64 calls;
	__u64 ns;
	__u64 longest_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 512);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct netdev_row);
} netdev_rows SEC(".maps");

/* Device kinds with driver statistics that the walk supports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct netdev_kind_name);
	__type(value, struct netdev_kind);
} netdev_kinds SEC(".maps");

/* For each entry of percpu_cpus, the offset from a per-CPU pointer to that CPU's values. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} netdev_offsets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct netdev_effort);
} netdev_effort_cell SEC(".maps");
