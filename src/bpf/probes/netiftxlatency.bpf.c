// SPDX-License-Identifier: GPL-2.0-only
/* Time that packets wait in a device's queueing discipline, and time that the driver takes to accept them. */
#include "common/address.bpf.h"
#include "common/pod_filter.bpf.h"
#include "common/events.bpf.h"
#include "common/header.bpf.h"
#include "common/histogram.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define LOOPBACK 0x8 /* IFF_LOOPBACK in net_device.flags; kernel: include/uapi/linux/if.h */
#define TRANSMIT_BUSY 0x10 /* kernel: include/linux/netdevice.h, NETDEV_TX_BUSY */

#define PROGRAM_QUEUE 0
#define PROGRAM_START 1
#define PROGRAM_DROP 2
#define PROGRAM_DONE 3

enum transmit_kind { KIND_QDISC, KIND_DRIVER };

SHARED_ENUM(transmit_kind);

SETTING __u64 threshold = 0; /* nanoseconds; packets that take longer trigger an event */

/*
 * A queued packet, looked up by a hash of its address. If two packets hash to the same slot, the later one takes it,
 * and the earlier one is counted as untracked when it is sent. A hash map would cost four times as much.
 */
struct queued_packet {
	__u64 packet; /* address; 0 if the slot is free */
	__u64 time; /* time of queueing in nanoseconds */
	__u64 length;
};

#define SLOT_BITS 14

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SLOT_BITS);
	__type(key, __u32);
	__type(value, struct queued_packet);
} queued_packets SEC(".maps");

/*
 * A packet that was passed to the driver. The data for an event is copied here because the driver may free the packet.
 */
struct transmit {
	__u64 packet; /* address of the packet */
	__u64 device; /* address of the device */
	__u64 queued; /* time of queueing in nanoseconds; 0 if unknown */
	__u64 started;
	__u32 length;
	struct packet_header header;
};

/* Stacked devices call each other's transmit functions (kernel: include/linux/netdevice.h, XMIT_RECURSION_LIMIT). */
#define DEPTH_MAX 8

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DEPTH_MAX);
	__type(key, __u32);
	__type(value, struct transmit);
} transmits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} transmit_depths SEC(".maps");

struct transmit_histograms {
	struct histogram qdisc;
	struct histogram driver;
};

NETNS_HISTOGRAMS(transmit_histograms);

struct transmit_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 delay; /* nanoseconds */
	__u32 kind;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
	char device[16];
	char qdisc[16]; /* root qdisc of the device */
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(transmit_event);

static __always_inline struct queued_packet *slot_of(__u64 address)
{
	__u32 index = (address * 0x9e3779b97f4a7c15ULL) >> (64 - SLOT_BITS);

	return bpf_map_lookup_elem(&queued_packets, &index);
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(packet_queued, struct sk_buff *skb)
{
	__u64 address = address_of(skb, PROGRAM_QUEUE);
	struct queued_packet *slot = slot_of(address);

	/* The loopback device has no queue and no driver. */
	if (!slot || skb->dev->flags & LOOPBACK || !passes_pod_filter(netns_id(skb->dev->nd_net.net)))
		return 0;
	slot->time = bpf_ktime_get_ns();
	slot->length = skb->len;
	slot->packet = address;
	return 0;
}

/* Maximum size in bytes of headers added after the packet was queued, such as a VLAN tag or IPsec headers. */
#define GROWTH_MAX 64

/*
 * Frees the packet's slot and returns the time at which the packet was queued; 0 if unknown. If the kernel split a
 * queued packet, the driver sends segments that were never queued. A segment may have the address of a queued packet,
 * but is always shorter than it.
 */
static __always_inline __u64 take_slot(struct sk_buff *skb)
{
	__u64 address = address_of(skb, PROGRAM_START), growth;
	struct queued_packet *slot = slot_of(address);

	if (!slot || slot->packet != address)
		return 0;
	slot->packet = 0;
	growth = skb->len - slot->length;
	return growth < GROWTH_MAX ? slot->time : 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(transmit_started, struct sk_buff *skb, struct net_device *device)
{
	__u32 zero = 0, index;
	__u32 *depth = bpf_map_lookup_elem(&transmit_depths, &zero);
	struct transmit *transmit;

	if (!depth || device->flags & LOOPBACK || !passes_pod_filter(netns_id(device->nd_net.net)))
		return 0;
	/* A depth above the kernel's limit means that the ends of some transmissions were missed. */
	index = *depth < DEPTH_MAX ? *depth : 0;
	transmit = bpf_map_lookup_elem(&transmits, &index);
	if (!transmit)
		return 0;
	*depth = index + 1;
	transmit->packet = (__u64)skb;
	transmit->device = (__u64)device;
	transmit->queued = take_slot(skb);
	transmit->length = skb->len;
	if (events_enabled)
		header_keep(&transmit->header, skb->protocol, skb->head + skb->network_header);
	transmit->started = bpf_ktime_get_ns();
	return 0;
}

/* Frees the slot of a dropped packet because a new packet may soon have the same address. */
SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_dropped, struct sk_buff *skb)
{
	__u64 address = address_of(skb, PROGRAM_DROP);
	struct queued_packet *slot = slot_of(address);

	if (slot && slot->packet == address)
		slot->packet = 0;
	return 0;
}

static __always_inline void tell(__u32 kind, __u64 netns, __u64 now, __u64 delay, const struct transmit *transmit,
				 struct net_device *device)
{
	struct transmit_event *event = event_reserve(netns, (struct netns_clue){.device = device}, sizeof(*event));

	if (!event)
		return;
	event->time = now;
	event->netns = netns;
	event->delay = delay;
	event->kind = kind;
	event->length = transmit->length;
	header_read_tuple(&event->tuple, &transmit->header);
	if (bpf_probe_read_kernel_str(event->device, sizeof(event->device), device->name) < 0)
		event->device[0] = 0;
	if (bpf_probe_read_kernel_str(event->qdisc, sizeof(event->qdisc), BPF_CORE_READ(device, qdisc, ops, id)) < 0)
		event->qdisc[0] = 0;
	event_submit(event);
}

static __always_inline void observe(const struct transmit *transmit, struct net_device *device)
{
	__u64 netns = netns_id(device->nd_net.net), now = bpf_ktime_get_ns();
	struct transmit_histograms *histograms = histograms_of(netns, (struct netns_clue){.device = device});
	__u64 driver = now - transmit->started, qdisc = 0;

	/* The times are out of order if two CPUs wrote to the slot at the same time. */
	if (transmit->queued && transmit->queued < transmit->started)
		qdisc = transmit->started - transmit->queued;
	if (histograms) {
		histogram_add_shared(&histograms->driver, driver);
		if (qdisc)
			histogram_add_shared(&histograms->qdisc, qdisc);
		else
			count_miss(untracked);
	}
	if (!events_enabled)
		return;
	if (qdisc > threshold)
		tell(KIND_QDISC, netns, now, qdisc, transmit, device);
	if (driver > threshold)
		tell(KIND_DRIVER, netns, now, driver, transmit, device);
}

/* Stores the packet again: the driver refused it, so the kernel puts it back into the queue. */
static __always_inline void requeue(struct sk_buff *skb, const struct transmit *transmit)
{
	__u64 address = address_of(skb, PROGRAM_DONE);
	struct queued_packet *slot = slot_of(address);

	if (!slot)
		return;
	slot->time = transmit->queued;
	slot->length = transmit->length;
	slot->packet = transmit->queued ? address : 0;
}

/*
 * The packet may already have been freed and its address reused, but the last transmission that this CPU started is
 * still the one that ends here.
 */
SEC("tp_btf/net_dev_xmit")
int BPF_PROG(transmit_done, struct sk_buff *skb, int result, struct net_device *device)
{
	__u32 zero = 0, index;
	__u32 *depth = bpf_map_lookup_elem(&transmit_depths, &zero);

	if (!depth)
		return 0;
	index = *depth;
	for (int i = 0; i < DEPTH_MAX && index; i++) {
		struct transmit *transmit;

		index--;
		transmit = bpf_map_lookup_elem(&transmits, &index);
		if (!transmit || transmit->packet != (__u64)skb || transmit->device != (__u64)device)
			continue;
		*depth = index;
		if (result == TRANSMIT_BUSY)
			requeue(skb, transmit);
		else
			observe(transmit, device);
		return 0;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
