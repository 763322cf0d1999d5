// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "packet.bpf.h"
#include "shared.bpf.h"
#include "socket.bpf.h"
#include "tcp_state.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <stdbool.h>

/*
 * Decides whether a packet that the kernel frees was lost. A packet is lost if a rule or program decided to drop it, if
 * a resource was exhausted, or if it was a request to this host alone that no socket accepted. All other freed packets
 * are discards.
 */

enum discard_class {
	CLASS_ANSWERED_BY_RESET, /* TCP segment that belongs to no connection and does not request one */
	CLASS_CONTROL, /* no user data: acknowledgements, FINs, ICMP errors and replies, neighbour discovery */
	CLASS_DUPLICATE, /* data that was already received */
	CLASS_NO_LISTENER_MULTICAST, /* multicast or broadcast for which this host has no listener */
	CLASS_NOT_FOR_US, /* frame addressed to the MAC address of another host */
	CLASS_BEFORE_FORWARDING, /* multicast on a bridge port that is not forwarding yet */
	CLASS_UNHANDLED_PROTOCOL, /* frame of a protocol that this host does not support */
	CLASS_PURGED, /* still queued in a socket when the socket was closed */
	CLASS_CONFIGURED, /* the configuration says that this drop reason is not a loss */
	CLASS_UNCLASSIFIED, /* the available information is not enough to decide */
};

/* How to classify packets with a drop reason. Some rules also depend on the packet. */
enum loss_rule {
	RULE_UNKNOWN, /* the reason is newer than this table */
	RULE_LOSS, /* a decision to drop, or an exhausted resource */
	RULE_NO_REASON, /* the kernel gave no reason, so the packet and its location decide */
	RULE_REQUEST, /* a loss if the packet is a request */
	RULE_UNICAST, /* a loss if the packet was sent to one host */
	RULE_WINDOW, /* a loss if the packet is longer than a window probe */
	RULE_BRIDGE, /* like RULE_UNICAST, for bridge ports that are not forwarding yet */
	RULE_SEQUENCE, /* undecided if the packet is longer than a window probe, as it may be a duplicate */
	RULE_OLD, /* a loss if data with an old timestamp is new to the connection (kernel: tcp_validate_incoming()) */
	RULE_QUEUE, /* a loss unless the packet was queued in a socket */
	RULE_QDISC, /* a loss; if the device cannot send, same as RULE_UNICAST */
	RULE_CLASS, /* RULE_CLASS + class: always a discard of this class */
};

SHARED_ENUM(discard_class);
SHARED_ENUM(loss_rule);

#define LOST (-1)

/* Kernel: include/uapi/linux/if_packet.h */
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2
#define PACKET_OTHERHOST 3
#define PACKET_LOOPBACK 5 /* this host's own multicast, looped back */

#define HEADER_UNSET 0xffff

#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
/*
 * Kernel: include/uapi/linux/icmpv6.h. Types 130 to 132 and 143 are listener reports, 133 to 137 are router and
 * neighbour messages.
 */
#define ICMPV6_LISTENER_FIRST 130
#define ICMPV6_REDIRECT 137
#define ICMPV6_LISTENER2 143

/* Properties of a packet on which the classification depends. */
struct packet_view {
	struct packet_tuple tuple;
	struct packet_bytes bytes; /* from the network header on */
	bool is_shared; /* multicast or broadcast */
	bool is_for_other; /* addressed to another host */
	bool is_delivered; /* has reached the transport protocol */
	bool has_frame; /* data starts at the link-layer header */
	bool is_received_shared; /* a device received the packet as multicast or broadcast */
	bool is_copy; /* copy for a packet socket; only determined for RULE_NO_REASON */
	bool is_on_idle; /* the device cannot send; only determined for RULE_QDISC */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u32 sequence; /* TCP sequence number, host order */
	__u32 payload; /* bytes of TCP data */
};

static __always_inline bool is_icmp(__u8 protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* Fragments other than the first have no ports. */
static __always_inline bool is_later_fragment(const struct packet_tuple *tuple)
{
	return tuple->family && packet_has_ports(tuple->protocol) && !tuple->source_port && !tuple->destination_port;
}

static __always_inline bool is_shared_address(const struct packet_tuple *tuple)
{
	if (tuple->family == 4)
		return tuple->destination[12] >> 4 == 14 ||
		       (tuple->destination[12] == 255 && tuple->destination[13] == 255 &&
			tuple->destination[14] == 255 && tuple->destination[15] == 255);
	return tuple->family == 6 && tuple->destination[0] == 0xff;
}

/* Returns the length of the TCP data. Uses the length in the IP header because devices pad short frames. */
static __always_inline __u32 tcp_payload(struct sk_buff *skb, const struct packet_bytes *bytes, __u32 transport,
					 const struct packet_tuple *tuple)
{
	__u16 length = 0;
	__u8 offset = 0;
	__u32 headers, total;

	packet_copy(&offset, sizeof(offset), bytes, transport + 12);
	headers = transport + (offset >> 4) * 4;
	packet_copy(&length, sizeof(length), bytes, tuple->family == 4 ? 2 : 4);
	total = bpf_ntohs(length) + (tuple->family == 4 ? 0 : 40);
	/* Merged packets may be too long for the length field, which is then zero. */
	if (!length)
		return BPF_CORE_READ(skb, len);
	return total > headers ? total - headers : 0;
}

/* Kernel: include/net/sch_generic.h */
#define TCQ_F_BUILTIN 1

/*
 * Returns whether the packet's device is down or has no carrier. The kernel replaces the qdisc of such a device with
 * one that drops all packets (kernel: net/sched/sch_generic.c, noop_qdisc). The only other built-in qdisc never drops
 * packets.
 */
static __always_inline bool is_on_idle_device(struct sk_buff *skb)
{
	const struct netdev_queue *queue = BPF_CORE_READ(skb, dev, _tx);

	queue = (const void *)queue + BPF_CORE_READ(skb, queue_mapping) * bpf_core_type_size(struct netdev_queue);
	return BPF_CORE_READ(queue, qdisc, flags) & TCQ_F_BUILTIN;
}

/*
 * Returns whether the packet is a copy that was queued in a packet socket, such as that of tcpdump. The copy has no
 * device any more (kernel: net/packet/af_packet.c, packet_rcv()). A packet that such a socket has sent belongs to the
 * socket as well, even after another device has received it.
 */
static __always_inline bool is_packet_socket_copy(struct sk_buff *skb)
{
	const struct sock *sk = BPF_CORE_READ(skb, sk);

	return sk && BPF_CORE_READ(sk, __sk_common.skc_family) == FAMILY_PACKET && !BPF_CORE_READ(skb, dev);
}

static __always_inline void packet_view(struct packet_view *view, struct sk_buff *skb, __u32 rule)
{
	const unsigned char *head = BPF_CORE_READ(skb, head), *data = BPF_CORE_READ(skb, data);
	__u16 network = BPF_CORE_READ(skb, network_header), transport = BPF_CORE_READ(skb, transport_header);
	__u16 frame = BPF_CORE_READ(skb, mac_header);
	__u8 type = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type), destination = 0;
	__be32 sequence = 0;

	view->bytes = packet_linear(skb);
	packet_read_ip(&view->tuple, &view->bytes, 0, bpf_ntohs(BPF_CORE_READ(skb, protocol)));
	view->has_frame = frame != HEADER_UNSET && frame < network && data == head + frame;
	if (view->has_frame)
		bpf_probe_read_kernel(&destination, sizeof(destination), data);
	view->is_on_idle = rule == RULE_QDISC && is_on_idle_device(skb);
	view->is_copy = rule == RULE_NO_REASON && is_packet_socket_copy(skb);
	view->is_for_other = type == PACKET_OTHERHOST;
	view->is_received_shared = type == PACKET_BROADCAST || type == PACKET_MULTICAST;
	view->is_shared = view->is_received_shared || type == PACKET_LOOPBACK || destination & 1 ||
			  is_shared_address(&view->tuple);
	if (!view->tuple.family || transport == HEADER_UNSET || transport <= network)
		return;
	view->is_delivered = data >= head + transport;
	if (is_icmp(view->tuple.protocol))
		packet_copy(&view->icmp_type, sizeof(view->icmp_type), &view->bytes, transport - network);
	if (view->tuple.protocol != IPPROTO_TCP)
		return;
	packet_copy(&view->tcp_flags, sizeof(view->tcp_flags), &view->bytes, transport - network + 13);
	packet_copy(&sequence, sizeof(sequence), &view->bytes, transport - network + 4);
	view->sequence = bpf_ntohl(sequence);
	view->payload = tcp_payload(skb, &view->bytes, transport - network, &view->tuple);
}

static __always_inline bool is_link_control(const struct packet_view *view)
{
	if (!view->tuple.family)
		return false;
	if (view->tuple.protocol == IPPROTO_IGMP)
		return true;
	return view->tuple.protocol == IPPROTO_ICMPV6 && (view->icmp_type >= ICMPV6_LISTENER_FIRST) &&
	       (view->icmp_type <= ICMPV6_REDIRECT || view->icmp_type == ICMPV6_LISTENER2);
}

#define DHCP_SERVER 67
#define DHCP_CLIENT 68

/*
 * Returns whether this is a DHCP reply. The client does not have the destination address yet, so it reads the reply
 * from a packet socket, and the IP layer drops it.
 */
static __always_inline bool is_dhcp_answer(const struct packet_tuple *tuple)
{
	return tuple->family == 4 && tuple->protocol == IPPROTO_UDP && tuple->source_port == DHCP_SERVER &&
	       tuple->destination_port == DHCP_CLIENT;
}

static __always_inline bool is_syn(const struct packet_view *view)
{
	return (view->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static __always_inline int class_of_shared(const struct packet_view *view)
{
	return is_link_control(view) ? CLASS_CONTROL : CLASS_NO_LISTENER_MULTICAST;
}

/* Classifies a packet for which there was no receiver. */
static __always_inline int judge_request(const struct packet_view *view)
{
	__u8 protocol = view->tuple.protocol;

	if (view->is_shared)
		return class_of_shared(view);
	if (view->is_for_other)
		return CLASS_NOT_FOR_US;
	if (protocol == IPPROTO_TCP) {
		if (is_syn(view))
			return LOST;
		return view->tcp_flags & TCP_RST ? CLASS_CONTROL : CLASS_ANSWERED_BY_RESET;
	}
	if (is_icmp(protocol))
		return view->icmp_type == (protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO) ? LOST : CLASS_CONTROL;
	return LOST;
}

static __always_inline bool is_closing(__u8 state)
{
	return state == STATE_TIME_WAIT || state == STATE_FIN_WAIT1 || state == STATE_FIN_WAIT2 ||
	       state == STATE_CLOSE_WAIT || state == STATE_CLOSING || state == STATE_LAST_ACK || state == STATE_CLOSE;
}

/* Classifies a packet that TCP freed without a reason. The kernel reports the receiver since 6.11. */
static __always_inline int judge_tcp(const struct packet_view *view, const struct sock *receiver)
{
	__u8 state = receiver ? BPF_CORE_READ(receiver, __sk_common.skc_state) : 0;

	if (view->tcp_flags & TCP_RST)
		return CLASS_CONTROL;
	if (state == STATE_LISTEN && socket_queue_full(receiver))
		return LOST;
	if (is_syn(view)) {
		/* The SYN was retransmitted, or both ends are connecting to each other simultaneously. */
		if (state == STATE_LISTEN || state == STATE_SYN_SENT || state == STATE_SYN_RECV ||
		    state == STATE_NEW_SYN_RECV || state == STATE_TIME_WAIT)
			return CLASS_CONTROL;
		return CLASS_UNCLASSIFIED;
	}
	if (view->payload > 1)
		return is_closing(state) ? CLASS_DUPLICATE : CLASS_UNCLASSIFIED;
	if (receiver || view->tcp_flags & TCP_FIN)
		return CLASS_CONTROL;
	/* May be the final ACK of a handshake that was refused because the accept queue was full. */
	return CLASS_UNCLASSIFIED;
}

/*
 * Classifies a packet whose TCP timestamp is too old: either a late duplicate, or a packet of another host behind the
 * same NAT address. The state of the receiving socket shows whether the data is new.
 */
static __always_inline int judge_old(const struct packet_view *view, const struct sock *receiver)
{
	__u8 state;

	/* Before 6.11, a SYN may also be a duplicate, which the connection acknowledges. */
	if (is_syn(view))
		return receiver ? LOST : CLASS_UNCLASSIFIED;
	if (!view->payload)
		return CLASS_CONTROL;
	if (!receiver)
		return CLASS_UNCLASSIFIED;
	state = BPF_CORE_READ(receiver, __sk_common.skc_state);
	if (!socket_is_full(state))
		return CLASS_DUPLICATE;
	return (__s32)(view->sequence + view->payload - BPF_CORE_READ((const struct tcp_sock *)receiver, rcv_nxt)) > 0
		       ? LOST
		       : CLASS_DUPLICATE;
}

/*
 * Whether the kernel frees an answered ICMPv6 echo request like one that it does not answer (before 6.3; kernel:
 * net/ipv6/icmp.c, icmpv6_rcv()).
 */
const volatile bool frees_answered_echo = false;

static __always_inline bool is_answered_echo(const struct packet_view *view)
{
	return frees_answered_echo && view->tuple.protocol == IPPROTO_ICMPV6 && view->icmp_type == ICMPV6_ECHO;
}

/*
 * Classifies a packet without a drop reason.
 * @param has_reasons whether the kernel reports reasons for other packets
 */
static __always_inline int judge_place(const struct packet_view *view, const struct sock *receiver, bool has_reasons,
				       bool has_place)
{
	if (view->is_copy)
		return CLASS_PURGED;
	if (view->is_delivered) {
		if (view->tuple.protocol == IPPROTO_TCP)
			return judge_tcp(view, receiver);
		if (is_later_fragment(&view->tuple))
			return CLASS_UNCLASSIFIED;
		if (view->tuple.protocol == IPPROTO_UDP && !has_place)
			return has_reasons ? CLASS_PURGED : CLASS_UNCLASSIFIED;
		if (view->tuple.protocol == IPPROTO_IGMP)
			return CLASS_CONTROL;
		return is_answered_echo(view) ? CLASS_UNCLASSIFIED : judge_request(view);
	}
	if (view->is_for_other)
		return CLASS_NOT_FOR_US;
	if (!view->is_shared)
		return is_dhcp_answer(&view->tuple) ? CLASS_CONTROL : LOST;
	/*
	 * An XDP program in the driver dropped the whole frame (kernel: drivers/net/veth.c, veth_xdp_rcv_skb()). If the
	 * kernel supports drop reasons, it gives one for every received frame that the network stack itself drops. A
	 * driver that sends a frame may drop it without a reason because it has no receiver (kernel:
	 * drivers/net/vxlan/vxlan_core.c, vxlan_xmit(), before 6.12).
	 */
	if (view->has_frame && !is_link_control(view))
		return has_reasons && view->is_received_shared ? LOST : CLASS_UNCLASSIFIED;
	return class_of_shared(view);
}

/*
 * Returns LOST, or the class of the discard.
 * @param receiver socket that received the packet, as an untyped pointer; NULL if the kernel does not report it
 * @param has_place whether the packet has a device
 */
static __always_inline int judge_loss(const struct packet_view *view, __u32 rule, const struct sock *receiver,
				      bool has_reasons, bool has_place)
{
	switch (rule) {
	case RULE_UNKNOWN:
		return CLASS_UNCLASSIFIED;
	case RULE_LOSS:
		return LOST;
	case RULE_NO_REASON:
		return judge_place(view, receiver, has_reasons, has_place);
	case RULE_REQUEST:
		return judge_request(view);
	case RULE_QDISC:
		if (!view->is_on_idle)
			return LOST;
		/* fall through */
	case RULE_UNICAST:
		if (view->is_for_other)
			return CLASS_NOT_FOR_US;
		if (is_dhcp_answer(&view->tuple))
			return CLASS_CONTROL;
		return view->is_shared ? class_of_shared(view) : LOST;
	case RULE_WINDOW:
		return view->payload > 1 ? LOST : CLASS_CONTROL;
	case RULE_BRIDGE:
		return view->is_shared ? CLASS_BEFORE_FORWARDING : LOST;
	case RULE_SEQUENCE:
		return view->payload > 1 ? CLASS_UNCLASSIFIED : CLASS_CONTROL;
	case RULE_OLD:
		return judge_old(view, receiver);
	case RULE_QUEUE:
		return view->is_delivered || !has_place ? CLASS_PURGED : LOST;
	default:
		return rule - RULE_CLASS;
	}
}
