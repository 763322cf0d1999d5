// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "shared.bpf.h"
#include "tuple.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* End of the connection that sent a packet, according to connection tracking. */
enum tracked_sender {
	TRACKED_NONE, /* the packet is not tracked, or the kernel's types are unknown */
	TRACKED_CLIENT,
	TRACKED_SERVER,
};

SHARED_ENUM(tracked_sender);

/* Connection of a packet according to connection tracking. The tuples are valid if `sender` is set. */
struct tracked_connection {
	struct packet_tuple original; /* as the client sends, before translation */
	struct packet_tuple reply; /* as the server sends, after translation */
	__u8 sender;
	__u8 spare[7];
};

#define TRACKED_INFO 7ul /* kernel: include/linux/skbuff.h, NFCT_INFOMASK */
#define TRACKED_REPLY 3 /* first of the values for packets of the server: enum ip_conntrack_info, IP_CT_IS_REPLY */
#define FAMILY_IPV4 2
#define FAMILY_IPV6 10

static __always_inline void tracked_copy(__u8 *into, const union nf_inet_addr *address, bool is_ipv4)
{
	if (!is_ipv4) {
		__builtin_memcpy(into, address, 16);
		return;
	}
	__builtin_memset(into, 0, 10);
	into[10] = into[11] = 0xff;
	__builtin_memcpy(into + 12, address, 4);
}

static __always_inline bool tracked_read_tuple(struct packet_tuple *tuple, const struct nf_conntrack_tuple *from)
{
	union nf_inet_addr source = {}, destination = {};
	__u16 family = BPF_CORE_READ(from, src.l3num);
	bool is_ipv4 = family == FAMILY_IPV4;

	if (!is_ipv4 && family != FAMILY_IPV6)
		return false;
	if (bpf_probe_read_kernel(&source, sizeof(source), &from->src.u3) ||
	    bpf_probe_read_kernel(&destination, sizeof(destination), &from->dst.u3))
		return false;
	tracked_copy(tuple->source, &source, is_ipv4);
	tracked_copy(tuple->destination, &destination, is_ipv4);
	tuple->source_port = bpf_ntohs(BPF_CORE_READ(from, src.u.all));
	tuple->destination_port = bpf_ntohs(BPF_CORE_READ(from, dst.u.all));
	tuple->protocol = BPF_CORE_READ(from, dst.protonum);
	tuple->ethertype = is_ipv4 ? 0x0800 : 0x86dd;
	tuple->family = is_ipv4 ? 4 : 6;
	return true;
}

/*
 * Reads the connection to which the packet belongs or, for an ICMP error, to which it refers. The types are those of
 * the module nf_conntrack, which libbpf may be unable to read.
 */
static __always_inline void packet_read_connection(struct tracked_connection *connection, struct sk_buff *skb)
{
	const struct nf_conn *conn;
	__u64 tracked;

	connection->sender = TRACKED_NONE;
	if (!bpf_core_field_exists(skb->_nfct) || !bpf_core_type_exists(struct nf_conn))
		return;
	tracked = BPF_CORE_READ(skb, _nfct);
	conn = (const void *)(tracked & ~TRACKED_INFO);
	if (!conn || !tracked_read_tuple(&connection->original, &conn->tuplehash[0].tuple) ||
	    !tracked_read_tuple(&connection->reply, &conn->tuplehash[1].tuple))
		return;
	connection->sender = (tracked & TRACKED_INFO) >= TRACKED_REPLY ? TRACKED_SERVER : TRACKED_CLIENT;
}
