// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Connect times of TCP sockets, by namespace and role. */

#include "common/counts.bpf.h"
#include "common/histogram.bpf.h"
#include "common/netns.bpf.h"
#include "common/socket.bpf.h"
#include "tcp_endings.bpf.h"

/* Connect times in a namespace, from the first SYN to the last segment of the handshake. */
struct connect_times {
	struct histogram client, server;
};

NETNS_HISTOGRAMS(connect_times);

/*
 * Start times of connections whose SYN was retransmitted, indexed by a hash of the socket's address. The socket itself
 * does not retain the start time.
 */
#define SLOW_CONNECTS 4096

struct slow_connect {
	__u64 sk;
	__u64 start; /* bpf_ktime_get_ns() */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOW_CONNECTS);
	__type(key, __u32);
	__type(value, struct slow_connect);
} slow_connects SEC(".maps");

/* Returns the duration of a handshake in nanoseconds; 0 if its start is unknown. */
static __always_inline __u64 connect_time(const struct tcp_sock *tcp, __u64 address, int old)
{
	__u32 index = hash_of(address) % SLOW_CONNECTS;
	struct slow_connect *slow;

	/* Unless a SYN was retransmitted, the first round-trip time measurement is the duration of the handshake. */
	if (!tcp->total_retrans)
		return (tcp->srtt_us >> 3) * 1000ULL;
	/* Not available for servers, whose SYN-ACK is sent by a request socket before the full socket exists. */
	slow = old == STATE_SYN_SENT ? bpf_map_lookup_elem(&slow_connects, &index) : NULL;
	if (!slow || slow->sk != address)
		return 0;
	slow->sk = 0;
	return bpf_ktime_get_ns() - slow->start;
}

static __always_inline void count_connect(const struct sock *sk, const struct tcp_sock *tcp, __u64 address, int old)
{
	__u64 netns = netns_id(sk->__sk_common.skc_net.net), took;
	struct connect_times *times;

	took = connect_time(tcp, address, old);
	if (!took) {
		count_miss(untracked);
		return;
	}
	times = histograms_of(netns, (struct netns_clue){.sk = sk});
	if (times)
		histogram_add_shared(old == STATE_SYN_SENT ? &times->client : &times->server, took);
}
