// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "tcp_state.bpf.h"
#include "tuple.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define FAMILY_IPV4 2
#define FAMILY_IPV6 10
#define FAMILY_PACKET 17

/* TIME_WAIT and request sockets consist only of struct sock_common. */
static __always_inline bool socket_is_full(__u8 state)
{
	return state != STATE_TIME_WAIT && state != STATE_NEW_SYN_RECV;
}

/* Returns whether the queue of a listening socket is full (kernel: include/net/sock.h, sk_acceptq_is_full()). */
static __always_inline bool socket_queue_full(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_ack_backlog) > BPF_CORE_READ(sk, sk_max_ack_backlog);
}

/*
 * Fills a zeroed tuple with the local end as the source and the remote end as the destination. IPv6 sockets that use
 * IPv4 have IPv4-mapped addresses. While a socket is being closed, skc_num is already 0, but the source port in
 * inet_sport is still set.
 */
static __always_inline void socket_read_tuple(struct packet_tuple *tuple, const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;
	__u16 family = BPF_CORE_READ(common, skc_family);

	tuple->protocol = IPPROTO_TCP;
	tuple->source_port = BPF_CORE_READ(common, skc_num);
	if (!tuple->source_port && socket_is_full(BPF_CORE_READ(common, skc_state)))
		tuple->source_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	tuple->destination_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
	if (family == FAMILY_IPV4) {
		tuple->family = 4;
		tuple->source[10] = tuple->source[11] = tuple->destination[10] = tuple->destination[11] = 0xff;
		BPF_CORE_READ_INTO((__be32 *)(tuple->source + 12), common, skc_rcv_saddr);
		BPF_CORE_READ_INTO((__be32 *)(tuple->destination + 12), common, skc_daddr);
	} else if (family == FAMILY_IPV6) {
		tuple->family = 6;
		BPF_CORE_READ_INTO((struct in6_addr *)tuple->source, common, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)tuple->destination, common, skc_v6_daddr);
	}
}
