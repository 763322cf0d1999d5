// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "netns.bpf.h"
#include "tuple.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd

struct packet_ports {
	__be16 source, destination;
};

/*
 * Bytes of a packet that may be read. Behind the linear part of a packet are bytes of earlier packets, and behind the
 * length that the IP header gives is padding.
 */
struct packet_bytes {
	const void *start; /* network header */
	__u32 length;
	__u32 transport; /* offset of the transport header; 0 if it was not found */
};

/* Copies bytes from an offset. Returns false if they are not all in the packet. */
static __always_inline bool packet_copy(void *to, __u32 size, const struct packet_bytes *bytes, __u32 at)
{
	return at <= bytes->length && size <= bytes->length - at && !bpf_probe_read_kernel(to, size, bytes->start + at);
}

/* Limits the bytes to those before an offset. */
static __always_inline void packet_trim(struct packet_bytes *bytes, __u32 end)
{
	if (end < bytes->length)
		bytes->length = end;
}

static __always_inline bool packet_has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static __always_inline void packet_read_ports(struct packet_tuple *tuple, struct packet_bytes *bytes, __u32 at)
{
	struct packet_ports ports;

	bytes->transport = at;
	if (!packet_has_ports(tuple->protocol) || !packet_copy(&ports, sizeof(ports), bytes, at))
		return;
	tuple->source_port = bpf_ntohs(ports.source);
	tuple->destination_port = bpf_ntohs(ports.destination);
}

static __always_inline void packet_read_ipv4(struct packet_tuple *tuple, struct packet_bytes *bytes, __u32 at)
{
	struct {
		__u8 version_length, tos;
		__be16 length, id, fragment;
		__u8 ttl, protocol;
		__be16 checksum;
		__u8 source[4], destination[4];
	} header;

	if (!packet_copy(&header, sizeof(header), bytes, at) || header.version_length >> 4 != 4)
		return;
	tuple->family = 4;
	tuple->protocol = header.protocol;
	tuple->source[10] = tuple->source[11] = tuple->destination[10] = tuple->destination[11] = 0xff;
	__builtin_memcpy(tuple->source + 12, header.source, 4);
	__builtin_memcpy(tuple->destination + 12, header.destination, 4);
	/* The field is 0 if the packet was merged from segments, and is too long for it. */
	if (header.length)
		packet_trim(bytes, at + bpf_ntohs(header.length));
	/* Only the first fragment has ports. */
	if (!(header.fragment & bpf_htons(0x1fff)))
		packet_read_ports(tuple, bytes, at + (header.version_length & 0xf) * 4);
}

#define PACKET_EXTENSIONS_MAX 4

static __always_inline void packet_read_ipv6(struct packet_tuple *tuple, struct packet_bytes *bytes, __u32 at)
{
	struct {
		__u8 version, flow[3];
		__be16 length;
		__u8 next, hops;
		__u8 source[16], destination[16];
	} header;
	__u32 next = at + sizeof(header);

	if (!packet_copy(&header, sizeof(header), bytes, at) || header.version >> 4 != 6)
		return;
	tuple->family = 6;
	tuple->protocol = header.next;
	__builtin_memcpy(tuple->source, header.source, 16);
	__builtin_memcpy(tuple->destination, header.destination, 16);
	/* As for IPv4. */
	if (header.length)
		packet_trim(bytes, next + bpf_ntohs(header.length));
#pragma unroll
	for (int i = 0; i < PACKET_EXTENSIONS_MAX; i++) {
		struct {
			__u8 next, length;
			__be16 fragment;
		} extension;
		__u32 length = 8;

		if (tuple->protocol != IPPROTO_HOPOPTS && tuple->protocol != IPPROTO_ROUTING &&
		    tuple->protocol != IPPROTO_DSTOPTS && tuple->protocol != IPPROTO_FRAGMENT)
			break;
		if (!packet_copy(&extension, sizeof(extension), bytes, next))
			return;
		if (tuple->protocol != IPPROTO_FRAGMENT)
			length += extension.length * 8;
		else if (extension.fragment & bpf_htons(0xfff8)) {
			tuple->protocol = extension.next;
			return;
		}
		tuple->protocol = extension.next;
		next += length;
	}
	packet_read_ports(tuple, bytes, next);
}

/* Fills a zeroed tuple from the IP header at an offset, which may be malformed. */
static __always_inline void packet_read_ip(struct packet_tuple *tuple, struct packet_bytes *bytes, __u32 at,
					   __u16 ethertype)
{
	tuple->ethertype = ethertype;
	if (ethertype == ETHERTYPE_IPV4)
		packet_read_ipv4(tuple, bytes, at);
	else if (ethertype == ETHERTYPE_IPV6)
		packet_read_ipv6(tuple, bytes, at);
}

/* Returns the linear part of a packet from the network header on; nothing if the packet has no network header yet. */
static __always_inline struct packet_bytes packet_linear(const struct sk_buff *skb)
{
	__u32 network = BPF_CORE_READ(skb, network_header), tail = BPF_CORE_READ(skb, tail);
	struct packet_bytes bytes = {.start = BPF_CORE_READ(skb, head) + network};

	if (network && tail > network)
		bytes.length = tail - network;
	return bytes;
}

/* Fills a zeroed tuple from the headers of the packet, which may be malformed. */
static __always_inline void packet_read_tuple(struct packet_tuple *tuple, struct sk_buff *skb)
{
	struct packet_bytes bytes = packet_linear(skb);

	packet_read_ip(tuple, &bytes, 0, bpf_ntohs(BPF_CORE_READ(skb, protocol)));
}

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Returns the flags of a segment while TCP processes it (kernel: include/net/tcp.h, TCP_SKB_CB()). */
static __always_inline __u8 packet_tcp_flags(const struct sk_buff *skb)
{
	return BPF_CORE_READ((const struct tcp_skb_cb *)skb->cb, tcp_flags);
}

/* Returns the number of data bytes in a segment while TCP processes it. */
static __always_inline __u32 packet_tcp_length(const struct sk_buff *skb)
{
	const struct tcp_skb_cb *segment = (const struct tcp_skb_cb *)skb->cb;
	__u8 flags = packet_tcp_flags(skb);

	return BPF_CORE_READ(segment, end_seq) - BPF_CORE_READ(segment, seq) - !!(flags & TCP_SYN) -
	       !!(flags & TCP_FIN);
}

/*
 * Returns the cookie of the namespace of a packet's device; 0 if it has no device. Packets in TCP queues have none. In
 * UDP receive queues and fragment queues, the memory of skb->dev is used for other data. To detect this, the function
 * checks that the namespace has a valid loopback device.
 */
static __always_inline __u64 device_netns(struct sk_buff *skb)
{
	struct net_device *device = skb->dev;
	struct net *net = device ? device->nd_net.net : NULL;

	if (!net || net->loopback_dev->nd_net.net != net)
		return 0;
	return netns_id(net);
}

/*
 * Returns the cookie of the namespace of a packet's device or, if it has none, of its socket; 0 if it has neither.
 * @param receiver receiving socket as an untyped pointer, see plain_argument()
 */
static __always_inline __u64 packet_netns(struct sk_buff *skb, const struct sock *receiver)
{
	__u64 netns = device_netns(skb);
	struct sock *owner = skb->sk;

	if (netns)
		return netns;
	if (receiver)
		netns = netns_read_id(BPF_CORE_READ(receiver, __sk_common.skc_net.net));
	if (!netns && owner)
		netns = netns_id(owner->__sk_common.skc_net.net);
	return netns;
}

/*
 * Returns the namespace of a received packet's route; 0 if it has none. TCP keeps the route when it takes the packet
 * from its device.
 */
static __always_inline __u64 routed_netns(const struct sk_buff *skb)
{
	/* The lowest bit indicates that the route is not reference-counted. */
	struct dst_entry *route = (struct dst_entry *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);

	return netns_read_id(BPF_CORE_READ(route, dev, nd_net.net));
}
