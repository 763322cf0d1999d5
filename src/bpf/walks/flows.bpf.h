// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/*
 * Adds the current counts of open sockets to the counts of closed sockets, so that every byte is counted exactly once.
 * When the walk first reaches a row, it copies the counts of the closed sockets. It then adds the counts of each open
 * socket that is still in the hash table after its counts were read. The kernel removes a socket from the hash table
 * before the hook counts it as closed, so the copied counts do not include these sockets. A socket that is closed
 * during the walk may be missing from the sum until the next walk. User space hides this by never letting a value
 * decrease.
 */
#include "common/flow_rows.bpf.h"
#include <linux/in.h>

/* Whether this object shares the maps of the hooks. If not, there are no rows. */
const volatile bool has_flow_rows = false;

/*
 * Makes the walk ignore the counts of closed sockets. A test sets this and adds them after the walk instead, which
 * counts some sockets twice, to check that it detects this error.
 */
const volatile bool closed_late = false;

/* Properties that identify a socket in the hash table, and its counts. */
struct flow_socket {
	__u64 net;
	__u32 hash, ports;
	__be32 peer;
	__u64 counts[FLOW_FIELDS];
};

/* Global variables because these structs would take up most of the stack. */
struct flow_socket flow_socket;
struct flow_key flow_key;
__u64 flow_fence;

static __always_inline int flow_interface6(__u64 sk)
{
	__u64 ipv6 = (__u64)READ(struct inet_sock, sk, pinet6);

	return ipv6 ? READ(struct ipv6_pinfo, ipv6, mcast_oif) : 0;
}

static __always_inline void flow_read_key(__u64 sk, __u64 netns)
{
	bool is_ipv4 = READ(struct sock_common, sk, skc_family) == FAMILY_IPV4;

	__builtin_memset(&flow_key, 0, sizeof(flow_key));
	flow_key.netns = netns;
	flow_key.role = flow_role_of(READ(struct sock, sk, sk_max_ack_backlog), READ(struct inet_sock, sk, mc_index),
				     is_ipv4 ? 0 : flow_interface6(sk));
	flow_key.port = flow_key.role == ROLE_SERVER ? flow_socket.ports >> 16 : bpf_ntohs(flow_socket.ports & 0xffff);
	if (netns == node_netns)
		flow_key.cgroup = flow_cgroup((const struct sock *)sk);
	if (is_ipv4) {
		flow_key.peer[10] = flow_key.peer[11] = 0xff;
		*(__be32 *)(flow_key.peer + 12) = flow_socket.peer;
	} else {
		BPF_CORE_READ_INTO((struct in6_addr *)flow_key.peer, (struct sock_common *)sk, skc_v6_daddr);
	}
}

static __always_inline void flow_read_counts(__u64 sk, __u32 state)
{
	__u64 *counts = flow_socket.counts;
	__u64 sent, again, received, finished;

	/*
	 * The fields are read in this order so that a segment or FIN that arrives between two reads can make a count
	 * temporarily too small, but never too large.
	 */
	sent = READ(struct tcp_sock, sk, bytes_sent);
	barrier();
	again = READ(struct tcp_sock, sk, bytes_retrans);
	received = READ(struct tcp_sock, sk, bytes_received);
	barrier();
	finished = READ(struct sock_common, sk, skc_flags) >> 1 & 1;
	counts[FIELD_CONNECTIONS] = state != STATE_SYN_SENT && state != STATE_SYN_RECV;
	counts[FIELD_SENT_BYTES] = sent > again ? sent - again : 0;
	counts[FIELD_RECEIVED_BYTES] = received > finished ? received - finished : 0;
	counts[FIELD_SENT_SEGMENTS] = READ(struct tcp_sock, sk, segs_out);
	counts[FIELD_RECEIVED_SEGMENTS] = READ(struct tcp_sock, sk, segs_in);
	counts[FIELD_RETRANSMITTED_SEGMENTS] = READ(struct tcp_sock, sk, total_retrans);
	counts[FIELD_RETRANSMITTED_BYTES] = again;
	counts[FIELD_OUT_OF_ORDER_SEGMENTS] = READ(struct tcp_sock, sk, rcv_ooopack);
	counts[FIELD_BUSY] = READ(struct tcp_sock, sk, chrono_stat[0]);
	counts[FIELD_RECEIVER_LIMITED] = READ(struct tcp_sock, sk, chrono_stat[1]);
	counts[FIELD_SEND_BUFFER_LIMITED] = READ(struct tcp_sock, sk, chrono_stat[2]);
}

/* Copies the counts of closed sockets when this walk reaches the row for the first time. */
static __always_inline void flow_begin_row(struct flow_row *row)
{
	__u64 before;

	if (row->walk == walk.progress.walk)
		return;
	for (int field = 0; field < FLOW_FIELDS; field++)
		row->now[field] = closed_late ? 0 : *(volatile __u64 *)&row->closed[field];
	row->live = 0;
	row->walk = walk.progress.walk;
	/* An atomic operation with a result is a full barrier: the hash table is read after the counts were copied. */
	before = __sync_fetch_and_add(&flow_fence, 1);
	barrier_var(before);
}

/* Returns whether the hash table still contains this socket, and not another socket in the same memory. */
static __always_inline bool flow_is_hashed(__u64 sk)
{
	return READ(struct sock_common, sk, skc_nulls_node.pprev) &&
	       READ(struct sock_common, sk, skc_hash) == flow_socket.hash &&
	       READ(struct sock_common, sk, skc_portpair) == flow_socket.ports &&
	       READ(struct sock_common, sk, skc_daddr) == flow_socket.peer &&
	       (__u64)READ(struct sock_common, sk, skc_net.net) == flow_socket.net;
}

static __always_inline void flow_add(struct flow_row *row)
{
	for (int field = 0; field < FLOW_FIELDS; field++)
		row->now[field] += flow_socket.counts[field];
	row->live++;
}

/* Samples the round-trip time of a connection that has received an acknowledgement since the last walk. */
static __always_inline void flow_sample(struct flow_row *row, __u64 sk)
{
	__u32 round_trip = READ(struct tcp_sock, sk, srtt_us) >> 3;

	if (walk.round_trips && round_trip && (__s32)(READ(struct tcp_sock, sk, rcv_tstamp) - walk.previous) > 0)
		flow_add_round_trip(row, round_trip);
}

static __always_inline void flow_log_open(struct flow_row *row, __u64 sk)
{
	struct flow_ends ends = {
		.local_port = flow_socket.ports >> 16,
		.peer_port = bpf_ntohs(flow_socket.ports & 0xffff),
	};

	if (READ(struct sock_common, sk, skc_family) == FAMILY_IPV4) {
		ends.local[10] = ends.local[11] = 0xff;
		*(__be32 *)(ends.local + 12) = READ(struct sock_common, sk, skc_rcv_saddr);
	} else {
		BPF_CORE_READ_INTO((struct in6_addr *)ends.local, (struct sock_common *)sk, skc_v6_rcv_saddr);
	}
	flow_log_connection(row, &flow_key, (const struct net *)flow_socket.net, &ends, false);
}

/*
 * Adds a connection to its row. If the previous slice ended in the middle of this chain, the connection is skipped
 * because the walk may already have visited it.
 */
static __noinline int flow_take(__u64 sk, __u64 netns, __u32 state)
{
	struct flow_row *row;

	if (walk.is_resumed) {
		walk.progress.flows_left++;
		return 0;
	}
	flow_socket.net = (__u64)READ(struct sock_common, sk, skc_net.net);
	flow_socket.hash = READ(struct sock_common, sk, skc_hash);
	flow_socket.ports = READ(struct sock_common, sk, skc_portpair);
	flow_socket.peer = READ(struct sock_common, sk, skc_daddr);
	/* A mismatch means that the memory now belongs to a socket in another chain or of another protocol. */
	if ((flow_socket.hash & (walk.buckets - 1)) != walk.bucket || READ(struct sock, sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	flow_read_key(sk, netns);
	row = flow_row_of(&flow_key, (const struct net *)flow_socket.net);
	if (!row)
		return 0;
	flow_begin_row(row);
	flow_read_counts(sk, state);
	if (!flow_is_hashed(sk))
		return 0;
	if (row->watched)
		flow_log_open(row, sk);
	flow_add(row);
	flow_sample(row, sk);
	return 0;
}

/* Adds the drops of a listening socket to its row. */
static __noinline int flow_take_listener(__u64 sk, __u64 netns)
{
	__u32 drops = READ(struct sock, sk, sk_drops.counter);
	struct flow_row *row;

	if (!drops || walk.is_resumed)
		return 0;
	flow_socket.net = (__u64)READ(struct sock_common, sk, skc_net.net);
	__builtin_memset(&flow_key, 0, sizeof(flow_key));
	flow_key.netns = netns;
	flow_key.role = ROLE_LISTENER;
	flow_key.port = READ(struct sock_common, sk, skc_num);
	row = flow_row_of(&flow_key, (const struct net *)flow_socket.net);
	if (!row)
		return 0;
	flow_begin_row(row);
	if (!READ(struct sock_common, sk, skc_nulls_node.pprev) ||
	    READ(struct sock_common, sk, skc_num) != flow_key.port)
		return 0;
	row->now[FIELD_CONNECTIONS] += drops;
	row->live++;
	return 0;
}
