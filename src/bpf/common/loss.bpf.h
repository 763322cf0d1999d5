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
 * Decides whether a packet that the kernel frees is lost. A packet is lost if a rule or a program decided to drop it,
 * if a resource was exhausted, or if it was a request, addressed only to this host, that nothing served. All other
 * packets are discards.
 */

enum discard_class {
	CLASS_ANSWERED_BY_RESET, /* TCP segment that is not a request and matches no connection */
	CLASS_CONTROL, /* no data: acknowledgements, closing segments, ICMP errors and replies, neighbour discovery */
	CLASS_DUPLICATE, /* data that was already received */
	CLASS_NO_LISTENER_MULTICAST, /* multicast or broadcast that no socket here listens for */
	CLASS_NOT_FOR_US, /* for the MAC address of another host */
	CLASS_BEFORE_FORWARDING, /* multicast on a port of a bridge that does not forward yet */
	CLASS_UNHANDLED_PROTOCOL, /* a type of frame that this host does not handle */
	CLASS_PURGED, /* still queued in a socket that was closed */
	CLASS_CONFIGURED, /* excluded from losses by the configuration */
	CLASS_UNCLASSIFIED, /* the rule cannot decide */
};

/* How to treat a drop reason. Some rules also depend on the packet. */
enum loss_rule {
	RULE_UNKNOWN, /* the reason is newer than this table */
	RULE_LOSS, /* a decision to drop, or an exhausted resource */
	RULE_NO_REASON, /* the kernel reports no reason, so the location of the packet decides */
	RULE_REQUEST, /* a loss if the packet is a request */
	RULE_UNICAST, /* a loss if the packet was sent to one host */
	RULE_WINDOW, /* a loss if the packet is longer than a window probe */
	RULE_BRIDGE, /* like RULE_UNICAST, on a port that does not forward yet */
	RULE_OLD, /* a loss if the data is new to the connection (kernel: tcp_validate_incoming(), old timestamps) */
	RULE_QUEUE, /* a loss unless the packet was queued in a socket */
	RULE_QDISC, /* a loss, but like RULE_UNICAST if the device cannot send */
	RULE_CLASS, /* RULE_CLASS + class: never a loss */
};

SHARED_ENUM(discard_class);
SHARED_ENUM(loss_rule);

#define LOST (-1)

/* Kernel: include/uapi/linux/if_packet.h */
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2
#define PACKET_OTHERHOST 3
#define PACKET_LOOPBACK 5 /* looped back multicast of this host */

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

/* Properties of a packet that determine whether it is lost. */
struct packet_view {
	struct packet_tuple tuple;
	bool is_shared; /* sent to more than one host */
	bool is_for_other; /* sent to another host */
	bool is_delivered; /* the transport protocol has received it */
	bool has_frame; /* starts with the link-layer header */
	bool is_on_idle; /* on a device that cannot send */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u32 sequence; /* TCP sequence number, host order */
	__u32 payload; /* bytes of TCP data */
};

static __always_inline bool is_icmp(__u8 protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* Only the first fragment has ports. */
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
static __always_inline __u32 tcp_payload(struct sk_buff *skb, const void *network, const void *transport,
					 const struct packet_tuple *tuple)
{
	__u16 length = 0;
	__u8 offset = 0;
	__u32 headers, total;

	bpf_probe_read_kernel(&offset, sizeof(offset), transport + 12);
	headers = transport - network + (offset >> 4) * 4;
	bpf_probe_read_kernel(&length, sizeof(length), network + (tuple->family == 4 ? 2 : 4));
	total = bpf_ntohs(length) + (tuple->family == 4 ? 0 : 40);
	/* The length field is zero in merged packets that are too long for it. */
	if (!length)
		return BPF_CORE_READ(skb, len);
	return total > headers ? total - headers : 0;
}

/* Kernel: include/net/sch_generic.h */
#define TCQ_F_BUILTIN 1

/*
 * Returns whether the packet's device is down or has no carrier. The queue of such a device is replaced by one that
 * refuses all packets (kernel: net/sched/sch_generic.c, noop_qdisc). The other built-in queue accepts all packets.
 */
static __always_inline bool is_on_idle_device(struct sk_buff *skb)
{
	const struct netdev_queue *queue = BPF_CORE_READ(skb, dev, _tx);

	queue = (const void *)queue + BPF_CORE_READ(skb, queue_mapping) * bpf_core_type_size(struct netdev_queue);
	return BPF_CORE_READ(queue, qdisc, flags) & TCQ_F_BUILTIN;
}

static __always_inline void packet_view(struct packet_view *view, struct sk_buff *skb, __u32 rule)
{
	const unsigned char *head = BPF_CORE_READ(skb, head), *data = BPF_CORE_READ(skb, data);
	__u16 network = BPF_CORE_READ(skb, network_header), transport = BPF_CORE_READ(skb, transport_header);
	__u16 frame = BPF_CORE_READ(skb, mac_header);
	__u8 type = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type), destination = 0;
	__be32 sequence = 0;

	packet_read_tuple(&view->tuple, skb);
	view->has_frame = frame != HEADER_UNSET && frame < network && data == head + frame;
	if (view->has_frame)
		bpf_probe_read_kernel(&destination, sizeof(destination), data);
	view->is_on_idle = rule == RULE_QDISC && is_on_idle_device(skb);
	view->is_for_other = type == PACKET_OTHERHOST;
	view->is_shared = type == PACKET_BROADCAST || type == PACKET_MULTICAST || type == PACKET_LOOPBACK ||
			  destination & 1 || is_shared_address(&view->tuple);
	if (!view->tuple.family || transport == HEADER_UNSET || transport <= network)
		return;
	view->is_delivered = data >= head + transport;
	if (is_icmp(view->tuple.protocol))
		bpf_probe_read_kernel(&view->icmp_type, sizeof(view->icmp_type), head + transport);
	if (view->tuple.protocol != IPPROTO_TCP)
		return;
	bpf_probe_read_kernel(&view->tcp_flags, sizeof(view->tcp_flags), head + transport + 13);
	bpf_probe_read_kernel(&sequence, sizeof(sequence), head + transport + 4);
	view->sequence = bpf_ntohl(sequence);
	view->payload = tcp_payload(skb, head + network, head + transport, &view->tuple);
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
 * Returns whether this is a DHCP reply. It is sent to an address that the client does not have yet, so a packet socket
 * reads it and IP drops it.
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

/* Classifies a packet without a receiver. */
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
		/* Either the SYN was retransmitted, or both ends are connecting at the same time. */
		if (state == STATE_LISTEN || state == STATE_SYN_SENT || state == STATE_SYN_RECV ||
		    state == STATE_NEW_SYN_RECV || state == STATE_TIME_WAIT)
			return CLASS_CONTROL;
		return CLASS_UNCLASSIFIED;
	}
	if (view->payload > 1)
		return is_closing(state) ? CLASS_DUPLICATE : CLASS_UNCLASSIFIED;
	if (receiver || view->tcp_flags & TCP_FIN)
		return CLASS_CONTROL;
	/* This may be the last acknowledgement of a handshake that was refused because of a full queue. */
	return CLASS_UNCLASSIFIED;
}

/*
 * Classifies a packet whose timestamp is too old. It may be a late duplicate, or come from another host behind the same
 * address. The state of the receiving socket shows whether the data is new.
 */
static __always_inline int judge_old(const struct packet_view *view, const struct sock *receiver)
{
	__u8 state;

	if (is_syn(view))
		return LOST;
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
 * Classifies a packet without a drop reason.
 * @param has_reasons whether the kernel reports reasons for other packets
 */
static __always_inline int judge_place(const struct packet_view *view, const struct sock *receiver, bool has_reasons,
				       bool has_place)
{
	if (view->is_delivered) {
		if (view->tuple.protocol == IPPROTO_TCP)
			return judge_tcp(view, receiver);
		if (is_later_fragment(&view->tuple))
			return CLASS_UNCLASSIFIED;
		if (view->tuple.protocol == IPPROTO_UDP && !has_place)
			return has_reasons ? CLASS_PURGED : CLASS_UNCLASSIFIED;
		if (view->tuple.protocol == IPPROTO_IGMP)
			return CLASS_CONTROL;
		return judge_request(view);
	}
	if (view->is_for_other)
		return CLASS_NOT_FOR_US;
	if (!view->is_shared)
		return is_dhcp_answer(&view->tuple) ? CLASS_CONTROL : LOST;
	/*
	 * A program of the driver refused the whole frame. For frames that the program does not forward, the network
	 * stack reports reasons.
	 */
	if (view->has_frame && !is_link_control(view))
		return has_reasons ? LOST : CLASS_UNCLASSIFIED;
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
	case RULE_OLD:
		return judge_old(view, receiver);
	case RULE_QUEUE:
		return view->is_delivered || !has_place ? CLASS_PURGED : LOST;
	default:
		return rule - RULE_CLASS;
	}
}
