// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "fragment.bpf.h"
#include "loss.bpf.h"
#include "packet.bpf.h"
#include "process.bpf.h"
#include "shared.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Decides which freed packets were lost, and to which namespace they belong, for all programs on skb:kfree_skb. */

enum drop_limit {
	DROP_REASONS = 256, /* more than the core has; other reasons have a subsystem number in the upper 16 bits */
	DROP_SUBSYSTEMS = 8,
};

SHARED_ENUM(drop_limit);

const volatile __u32 not_specified = 0; /* value of SKB_DROP_REASON_NOT_SPECIFIED, which changed in 6.3 */
const volatile bool has_reasons = false; /* whether the kernel has drop reasons (5.17) */
SETTING __u8 rules[DROP_REASONS] = {}; /* enum loss_rule, by reason */
const volatile __u8 subsystem_rules[DROP_SUBSYSTEMS] = {};
const volatile bool waits_for_udp = false; /* whether a UDP drop is held until another tracepoint reports its socket */
const volatile __u32 receive_buffer = 0; /* value of SKB_DROP_REASON_SOCKET_RCVBUFF */
const volatile __u32 protocol_memory = 0; /* value of SKB_DROP_REASON_PROTO_MEM */
const volatile __u64 node_netns = 0; /* owner of packets that have neither a device nor a socket */

#define SYMBOL_LENGTH 80

/* Returns whether BPF programs can format addresses as symbols (5.13). If not, user space reads /proc/kallsyms. */
static __always_inline bool can_print(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf);
}

static __always_inline __u32 rule_of(__u32 reason)
{
	__u32 subsystem = reason >> 16;

	/*
	 * Keeps each value in one register. Otherwise the compiler may check the bound on a copy, and the verifier
	 * would not apply the bound to the original.
	 */
	barrier_var(reason);
	barrier_var(subsystem);
	if (reason < DROP_REASONS)
		return rules[reason];
	return subsystem < DROP_SUBSYSTEMS ? subsystem_rules[subsystem] : RULE_UNKNOWN;
}

/*
 * Returns false for netlink and Unix socket messages, which are freed by the same function. They have neither an IP
 * header nor a link-layer header.
 */
static __always_inline bool is_packet(struct sk_buff *skb, bool has_place)
{
	__u16 ethertype = bpf_ntohs(skb->protocol);

	return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 ||
	       (has_place && skb->mac_header != HEADER_UNSET);
}

/*
 * Returns the namespace of a packet that has neither a device nor a socket: a TCP segment, a datagram whose checksum is
 * verified when the process reads it, or a fragment of an incomplete packet. All other packets are attributed to the
 * node.
 */
static __always_inline __u64 netns_elsewhere(const struct sk_buff *skb, const struct packet_view *view, int class)
{
	__u64 netns = 0;

	if (view->is_delivered && class == LOST) {
		if (view->tuple.protocol == IPPROTO_TCP)
			netns = routed_netns(skb);
		if (!netns)
			netns = in_process() ? task_netns() : fragment_timer_netns();
	}
	return netns ?: node_netns;
}

/*
 * Before 6.11, a datagram dropped because of a full socket buffer has neither a device nor a socket. The next
 * tracepoint that fires on the same CPU reports the socket, so the drop is not counted until then.
 */
static __always_inline bool waits_for_socket(const struct packet_view *view, __u64 netns, __u32 reason, bool has_place)
{
	return waits_for_udp && !netns && !has_place && view->is_delivered && view->tuple.protocol == IPPROTO_UDP &&
	       (!has_reasons || reason == receive_buffer || reason == protocol_memory);
}
