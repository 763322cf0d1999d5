// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "netdev.bpf.h"

/* Functions that sum the counters that the kernel keeps per CPU or per queue of a device. */

/* Indices of 64-bit words in the kernel's structs. User space verifies their layout before it loads the object. */
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
	VLAN_RX_ERRORS, /* 32 bits wide; the upper half of the word is TX_DROPPED */
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

/* True if struct pcpu_dstats counts packets, bytes and drops for both directions, as it does since 6.7. */
const volatile bool has_dstats;
const volatile __u8 dstats_words[DSTATS_WORDS];

/* Number of entries in netdev_offsets. */
static __u32 cpus;

/* State of the sum that is being computed. */
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

/* Sums VLAN counters. The last word contains two 32-bit counters. */
static long add_vlan(__u64 nth, void *context)
{
	__u64 errors = (__u32)sum.words[VLAN_RX_ERRORS], before = sum.words[VLAN_RX_ERRORS];
	long stop = add_share(nth, VLAN_WORDS);
	__u64 share = sum.words[VLAN_RX_ERRORS] - before;

	/* Truncated to 32 bits, like the sums in the kernel. */
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

#define SUM_CPUS(from, add)                   \
	{                                     \
		begin_sum(from);              \
		bpf_loop(cpus, add, NULL, 0); \
	}
