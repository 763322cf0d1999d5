// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Paths measured with tracepoints: from the device to the socket, and from the device's queue to its driver. */
#include "kernellatency.bpf.h"

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(device_received, struct sk_buff *skb)
{
	__u32 zero = 0;
	struct packet_delivery *delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);

	if (!delivery)
		return 0;
	delivery->packet = 0;
	delivery->netns = netns_id(skb->dev->nd_net.net);
	if (!passes_pod_filter(delivery->netns))
		return 0;
	delivery->packet = (__u64)skb;
	delivery->length = skb->len;
	header_keep(&delivery->header, skb->protocol, skb->data);
	delivery->begun = bpf_ktime_get_ns();
	return 0;
}

struct tcp_fields {
	__be16 source, destination;
	__be32 sequence, acknowledged;
	__u8 header_length, flags;
};

#define IPV6_HEADER 40

/*
 * Returns whether the last segment that arrived on this CPU is the one that the socket has just received. If so, its
 * end is the sequence number that the socket expects next. A segment without data or FIN occupies no sequence numbers
 * and is not passed to the socket.
 */
static __always_inline bool is_last_segment(const struct packet_delivery *delivery, struct sock *sk)
{
	const __u8 *bytes = delivery->header.bytes;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u32 before, length, taken;
	struct tcp_fields fields;

	if (!tcp)
		return false;
	if (delivery->header.ethertype == ETHERTYPE_IPV4 && bytes[9] == IPPROTO_TCP) {
		before = (bytes[0] & 0xf) * 4;
		length = bytes[2] << 8 | bytes[3];
	} else if (delivery->header.ethertype == ETHERTYPE_IPV6 && bytes[IPV6_NEXT_HEADER] == IPPROTO_TCP) {
		before = IPV6_HEADER;
		length = bytes[4] << 8 | bytes[5];
		if (length)
			length += IPV6_HEADER;
	} else {
		return false;
	}
	/*
	 * The length field of a packet longer than 64 KiB is zero. The length of the buffer is only a fallback because
	 * it may include padding added by the device.
	 */
	if (!length)
		length = delivery->length;
	if (before > HEADER_LENGTH - sizeof(fields) || bpf_probe_read_kernel(&fields, sizeof(fields), bytes + before))
		return false;
	taken = length - before - (fields.header_length >> 4) * 4 + (fields.flags & TCP_FIN);
	return taken && bpf_ntohs(fields.destination) == sk->__sk_common.skc_num &&
	       fields.source == sk->__sk_common.skc_dport && bpf_ntohl(fields.sequence) + taken == tcp->rcv_nxt;
}

/*
 * Returns whether the last packet that arrived on this CPU is the one that the socket has just received. A UDP datagram
 * must be the last one in the receive queue, so it is not measured if another CPU has queued a datagram after it.
 */
static __always_inline bool is_last_packet(const struct packet_delivery *delivery, struct sock *sk)
{
	__u16 protocol = sk->sk_protocol;

	if (protocol == IPPROTO_TCP)
		return is_last_segment(delivery, sk);
	return (__u64)sk->sk_receive_queue.prev == delivery->packet;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(socket_ready, struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family, protocol = sk->sk_protocol;
	__u64 now = bpf_ktime_get_ns(), stages[STAGES_MAX] = {};
	struct kernel_histograms *histograms;
	struct packet_delivery *delivery;
	struct kernel_event *event;
	__u32 zero = 0;

	if ((family != FAMILY_IPV4 && family != FAMILY_IPV6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    sk->__sk_common.skc_state == STATE_LISTEN)
		return 0;
	if (!passes_pod_filter(netns_id(sk->__sk_common.skc_net.net)))
		return 0;
	delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);
	/*
	 * When a process releases the socket lock, it processes packets that arrived while it held the lock. The last
	 * packet that arrived on this CPU may then be a different one, so nothing is measured in process context.
	 */
	if (!delivery || !delivery->packet || delivery->netns != netns_id(sk->__sk_common.skc_net.net) ||
	    !is_last_packet(delivery, sk) || in_process()) {
		count_miss(untracked);
		return 0;
	}
	delivery->packet = 0;
	stages[0] = now - delivery->begun;
	histograms = histograms_of(delivery->netns, (struct netns_clue){.sk = sk});
	if (histograms)
		histogram_add_shared(&histograms->delivery, stages[0]);
	event = reserve_event(WAY_DELIVERY, delivery->netns, now, stages, delivery->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &delivery->header);
	event_submit(event);
	return 0;
}

/*
 * Only packets sent by local sockets are measured. A forwarded packet has no socket, or a socket in another namespace.
 */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(device_queued, struct sk_buff *skb)
{
	__u64 address = (__u64)plain_argument(ctx, 0);
	struct net *net = skb->dev->nd_net.net;
	struct packet_slot *slot;
	struct sock *sk = skb->sk;

	if (sk && sk->__sk_common.skc_net.net == net &&
	    (skb->protocol == bpf_htons(ETHERTYPE_IPV4) || skb->protocol == bpf_htons(ETHERTYPE_IPV6))) {
		begin(address, WAY_DEVICE, netns_id(net), 0, skb->len);
		slot = slot_of(address);
		if (slot && slot->packet == address && events_enabled)
			header_keep(&slot->header, skb->protocol, skb->head + skb->network_header);
		return 0;
	}
	slot = slot_of(address);
	if (slot && slot->packet == address)
		slot->packet = 0;
	return 0;
}

#define TRANSMIT_BUSY 0x10 /* kernel: include/linux/netdevice.h, NETDEV_TX_BUSY */

/* Maximum size in bytes of headers added after the packet was queued, such as a VLAN tag or IPsec headers. */
#define GROWTH_MAX 64

/*
 * The packet may already have been freed, so only its address is used. If the kernel split a queued packet, the driver
 * sends segments that were never queued. A segment may have the address of a queued packet, but is always shorter.
 */
SEC("tp_btf/net_dev_xmit")
int BPF_PROG(device_sent, struct sk_buff *skb, int result, struct net_device *device, __u32 length)
{
	__u64 address = (__u64)plain_argument(ctx, 0), now, stages[STAGES_MAX] = {};
	struct packet_slot *slot = find(address, WAY_DEVICE, 0, 0);
	struct kernel_histograms *histograms;
	struct kernel_event *event;

	/* The driver refused the packet, so the kernel queues it again. */
	if (!slot || result == TRANSMIT_BUSY)
		return 0;
	slot->packet = 0;
	now = bpf_ktime_get_ns();
	if (length - slot->length >= GROWTH_MAX || slot->begun > now) {
		count_miss(untracked);
		return 0;
	}
	stages[0] = now - slot->begun;
	histograms = histograms_of(slot->netns, (struct netns_clue){.device = device});
	if (histograms)
		histogram_add_shared(&histograms->device, stages[0]);
	event = reserve_event(WAY_DEVICE, slot->netns, now, stages, slot->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &slot->header);
	event_submit(event);
	return 0;
}
