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

static __always_inline bool packet_has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static __always_inline void packet_read_ports(struct packet_tuple *tuple, const void *transport)
{
	struct packet_ports ports;

	if (!packet_has_ports(tuple->protocol) || bpf_probe_read_kernel(&ports, sizeof(ports), transport))
		return;
	tuple->source_port = bpf_ntohs(ports.source);
	tuple->destination_port = bpf_ntohs(ports.destination);
}

static __always_inline void packet_read_ipv4(struct packet_tuple *tuple, const void *network)
{
	struct {
		__u8 version_length, tos;
		__be16 length, id, fragment;
		__u8 ttl, protocol;
		__be16 checksum;
		__u8 source[4], destination[4];
	} header;

	if (bpf_probe_read_kernel(&header, sizeof(header), network) || header.version_length >> 4 != 4)
		return;
	tuple->family = 4;
	tuple->protocol = header.protocol;
	tuple->source[10] = tuple->source[11] = tuple->destination[10] = tuple->destination[11] = 0xff;
	__builtin_memcpy(tuple->source + 12, header.source, 4);
	__builtin_memcpy(tuple->destination + 12, header.destination, 4);
	/* Only the first fragment has ports. */
	if (!(header.fragment & bpf_htons(0x1fff)))
		packet_read_ports(tuple, network + (header.version_length & 0xf) * 4);
}

#define PACKET_EXTENSIONS_MAX 4

static __always_inline void packet_read_ipv6(struct packet_tuple *tuple, const void *network)
{
	struct {
		__u8 version, flow[3];
		__be16 length;
		__u8 next, hops;
		__u8 source[16], destination[16];
	} header;
	const void *next = network + sizeof(header);

	if (bpf_probe_read_kernel(&header, sizeof(header), network) || header.version >> 4 != 6)
		return;
	tuple->family = 6;
	tuple->protocol = header.next;
	__builtin_memcpy(tuple->source, header.source, 16);
	__builtin_memcpy(tuple->destination, header.destination, 16);
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
		if (bpf_probe_read_kernel(&extension, sizeof(extension), next))
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
	packet_read_ports(tuple, next);
}

/* Fills a zeroed tuple from the headers of the packet, which may be invalid. */
static __always_inline void packet_read_tuple(struct packet_tuple *tuple, struct sk_buff *skb)
{
	const void *network = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);

	tuple->ethertype = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	if (tuple->ethertype == ETHERTYPE_IPV4)
		packet_read_ipv4(tuple, network);
	else if (tuple->ethertype == ETHERTYPE_IPV6)
		packet_read_ipv6(tuple, network);
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

/* Returns the bytes of data in a segment while TCP processes it. */
static __always_inline __u32 packet_tcp_length(const struct sk_buff *skb)
{
	const struct tcp_skb_cb *segment = (const struct tcp_skb_cb *)skb->cb;
	__u8 flags = packet_tcp_flags(skb);

	return BPF_CORE_READ(segment, end_seq) - BPF_CORE_READ(segment, seq) - !!(flags & TCP_SYN) -
	       !!(flags & TCP_FIN);
}

/*
 * Returns the cookie of the namespace of a packet's device; 0 if it has none. Packets in TCP queues have no device.
 * In UDP receive queues and fragment queues the field contains other data, so the namespace is verified.
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
 * Returns the cookie of a packet's namespace: that of its device or, failing that, of its socket; 0 if it has
 * neither. @param receiver the receiving socket, passed as an untyped pointer, see plain_argument()
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
