// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Definitions for the kernellatency programs: tracked packets, histograms and events. */
#include "common/pod_filter.bpf.h"
#include "common/argument.bpf.h"
#include "common/events.bpf.h"
#include "common/header.bpf.h"
#include "common/histogram.bpf.h"
#include "common/process.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

SETTING __u64 threshold = 0; /* nanoseconds; packets with a longer total time trigger an event */

/*
 * Measured paths. WAY_RECEIVE and WAY_SEND are split into stages by hooks on functions of the IP layer. If these
 * functions cannot be hooked, WAY_DELIVERY and WAY_DEVICE are measured instead, with tracepoints outside the IP layer.
 */
enum packet_way {
	WAY_RECEIVE,
	WAY_SEND,
	WAY_DELIVERY,
	WAY_DEVICE,
};

SHARED_ENUM(packet_way);

#define STAGES_MAX 3

/*
 * A tracked packet, looked up by a hash of its address. If two packets hash to the same slot, only the later one is
 * tracked. A slot is freed when its packet is delivered, queued for a device or dropped. It is not freed if the packet
 * is freed in another way, for example after reassembly or segmentation. Such a stale slot is harmless: the start of a
 * path overwrites it, and later stages discard it if path, stage or socket do not match.
 */
struct packet_slot {
	__u64 packet; /* address; 0 if the slot is free */
	__u64 netns;
	__u64 owner; /* address of the sending socket; 0 if there is none */
	__u64 begun; /* start of the path in nanoseconds */
	__u64 passed[STAGES_MAX - 1]; /* end times of all stages but the last; 0 if not reached */
	__u32 way;
	__u32 length;
	struct packet_header header; /* only for WAY_DEVICE, because the driver may free the packet */
};

#define SLOT_BITS 13

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SLOT_BITS);
	__type(key, __u32);
	__type(value, struct packet_slot);
} packet_slots SEC(".maps");

/*
 * The packet that this CPU is delivering to a transport protocol or, for WAY_DELIVERY, the packet that this CPU
 * received last. The data for an event is copied here because the packet may be freed before the delivery ends.
 */
struct packet_delivery {
	__u64 packet; /* address; 0 for none */
	__u64 netns;
	__u64 begun;
	__u64 passed[STAGES_MAX - 1];
	__u32 length;
	struct packet_header header;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet_delivery);
} packet_deliveries SEC(".maps");

struct kernel_histograms {
	struct histogram prerouting, input, transport;
	struct histogram output, postrouting, neighbour;
	struct histogram delivery;
	struct histogram device;
};

NETNS_HISTOGRAMS(kernel_histograms);

struct kernel_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 stages[STAGES_MAX]; /* nanoseconds; WAY_DELIVERY and WAY_DEVICE have only one stage */
	__u32 way;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(kernel_event);

static __always_inline struct packet_slot *slot_of(__u64 address)
{
	__u32 index = (address * 0x9e3779b97f4a7c15ULL) >> (64 - SLOT_BITS);

	return bpf_map_lookup_elem(&packet_slots, &index);
}

static __always_inline void begin(__u64 address, __u32 way, __u64 netns, __u64 owner, __u32 length)
{
	struct packet_slot *slot = slot_of(address);

	if (!slot)
		return;
	if (!passes_pod_filter(netns)) {
		if (slot->packet == address)
			slot->packet = 0;
		return;
	}
	if (slot->packet && slot->packet != address)
		count_miss(untracked);
	slot->packet = 0;
	slot->netns = netns;
	slot->owner = owner;
	slot->way = way;
	slot->length = length;
	slot->passed[0] = slot->passed[1] = 0;
	slot->begun = bpf_ktime_get_ns();
	slot->packet = address;
}

/*
 * Returns the slot of a packet that has passed exactly `stages` stages of this path. If the packet has a slot that does
 * not match, frees the slot and returns NULL.
 */
static __always_inline struct packet_slot *find(__u64 address, __u32 way, __u64 owner, __u32 stages)
{
	struct packet_slot *slot = slot_of(address);

	if (!slot || slot->packet != address)
		return NULL;
	if (slot->way == way && slot->owner == owner && !!slot->passed[0] == (stages > 0) &&
	    !!slot->passed[1] == (stages > 1))
		return slot;
	slot->packet = 0;
	return NULL;
}

static __always_inline void pass(__u64 address, __u32 way, __u64 owner, __u32 stage)
{
	struct packet_slot *slot = find(address, way, owner, stage);

	if (slot)
		slot->passed[stage] = bpf_ktime_get_ns();
}

/* Frees the slot of a dropped packet because a new packet may soon have the same address. */
SEC("tp_btf/kfree_skb")
int packet_dropped(__u64 *ctx)
{
	__u64 address = (__u64)plain_argument(ctx, 0);
	struct packet_slot *slot = slot_of(address);

	if (slot && slot->packet == address)
		slot->packet = 0;
	return 0;
}

/*
 * Computes the durations of the stages; returns false if the times are out of order because two CPUs wrote to the slot
 * at the same time.
 */
static __always_inline bool read_stages(__u64 *stages, __u64 begun, const __u64 *passed, __u64 now)
{
	if (begun > passed[0] || passed[0] > passed[1] || passed[1] > now) {
		count_miss(untracked);
		return false;
	}
	stages[0] = passed[0] - begun;
	stages[1] = passed[1] - passed[0];
	stages[2] = now - passed[1];
	return true;
}

static __always_inline struct kernel_event *reserve_event(__u32 way, __u64 netns, __u64 now, const __u64 *stages,
							  __u32 length)
{
	struct kernel_event *event;

	if (!events_enabled || stages[0] + stages[1] + stages[2] <= threshold)
		return NULL;
	event = event_reserve(netns, (struct netns_clue){}, sizeof(*event));
	if (!event)
		return NULL;
	event->time = now;
	event->netns = netns;
	event->way = way;
	event->length = length;
	for (int i = 0; i < STAGES_MAX; i++)
		event->stages[i] = stages[i];
	return event;
}
