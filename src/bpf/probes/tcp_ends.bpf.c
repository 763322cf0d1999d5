// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts TCP sockets when they are closed. A socket counts its own bytes, segments and retransmissions. When it is
 * closed, a program adds these counts to a row, so no program runs for each packet.
 *
 * The counts are read when the socket enters the state CLOSE, because tcp_disconnect() clears them soon afterwards
 * (kernel: net/ipv4/tcp.c). The kernel has already removed the socket from the hash by then (net/ipv4/tcp.c,
 * tcp_set_state()).
 *
 * The kernel skips a program that is already running on the same CPU, for example in a task that a softirq has
 * interrupted. Therefore the same handler is attached three times. The first copy leaves a mark for each closed socket.
 * Each of the next copies, which run right after it, counts closed sockets without a mark. Two copies are not enough:
 * from 7.x on, other tasks can also interrupt a program, and a few closed sockets would be missed.
 */
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/flow_rows.bpf.h"
#include "common/histogram.bpf.h"
#include "common/netns.bpf.h"
#include "common/socket.bpf.h"
#include "tcp_ends.bpf.h"
#include <bpf/bpf_tracing.h>

#define PROTOCOL_TCP 6 /* the subflows of MPTCP are TCP sockets too; its own sockets have another protocol */
#define SOCK_DONE_BIT 1 /* kernel: include/net/sock.h, enum sock_flags; the other end's FIN was received */

/* Kernel: include/uapi/asm-generic/errno.h */
#define ERROR_PIPE 32
#define ERROR_NETUNREACH 101
#define ERROR_CONNRESET 104
#define ERROR_TIMEDOUT 110
#define ERROR_CONNREFUSED 111
#define ERROR_HOSTUNREACH 113

/* Connect times of a namespace, from the first SYN to the last segment of the handshake. */
struct connect_times {
	struct histogram client, server;
};

NETNS_HISTOGRAMS(connect_times);

/*
 * Start times of connections whose SYN was retransmitted, by a hash of the socket's address. The socket does not keep
 * this time.
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

/* Marks of closed sockets that were counted, by a hash of the socket's address. */
#define MARKS 16384
static __u64 marks[MARKS];

/* Lengthens the time during which a program is skipped because it is already running. Only tests set this. */
const volatile __u32 delay = 0;

static long spin(__u64 index, void *context)
{
	return 0;
}

static __always_inline __u32 hash_of(__u64 sk)
{
	return (__u32)(sk >> 6) * 0x9E3779B1U >> 16;
}

/*
 * Returns the mark for the close of this connection. The mark depends on the connection because the memory of the
 * socket may soon be reused for another connection.
 */
static __always_inline __u64 mark_of(__u64 address, const struct tcp_sock *tcp)
{
	return address ^ ((__u64)tcp->write_seq << 32 | tcp->rcv_nxt) ^ (__u64)tcp->segs_in << 40;
}

static __always_inline __u8 failure_of(int error, __u32 segments)
{
	switch (error) {
	case 0:
		return segments ? END_NOT_GIVEN_UP : END_NOT_NO_PORT;
	case ERROR_CONNREFUSED:
		return END_NOT_REFUSED;
	case ERROR_TIMEDOUT:
		return END_NOT_TIMEOUT;
	case ERROR_NETUNREACH:
	case ERROR_HOSTUNREACH:
		return END_NOT_UNREACHABLE;
	default:
		return END_NOT_OTHER;
	}
}

/* A global function: the verifier then knows nothing about the result, and does not follow each value separately. */
__noinline int end_of(int old, int error, __u32 segments)
{
	if (old == STATE_SYN_SENT)
		return failure_of(error, segments);
	switch (error) {
	case 0:
		return old == STATE_ESTABLISHED || old == STATE_CLOSE_WAIT ? END_RESET_HERE : END_CLOSED;
	case ERROR_CONNRESET:
	case ERROR_PIPE:
		return END_RESET_BY_PEER;
	case ERROR_TIMEDOUT:
		return END_TIMEOUT;
	default:
		return END_OTHER;
	}
}

static __always_inline void read_key(struct flow_key *key, const struct sock *sk, const struct tcp_sock *tcp,
				     __u64 netns)
{
	const struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	__u16 local = bpf_ntohs(inet->inet_sport);

	key->netns = netns;
	key->role = flow_role_of(sk->sk_max_ack_backlog, inet->mc_index,
				 sk->__sk_common.skc_family == FAMILY_IPV4 ? 0 : inet->pinet6->mcast_oif);
	key->port = key->role == ROLE_SERVER ? local : bpf_ntohs(sk->__sk_common.skc_dport);
	if (netns == node_netns)
		key->cgroup = flow_cgroup(sk);
	if (sk->__sk_common.skc_family == FAMILY_IPV4) {
		key->peer[10] = key->peer[11] = 0xff;
		*(__be32 *)(key->peer + 12) = sk->__sk_common.skc_daddr;
	} else {
		*(struct in6_addr *)key->peer = sk->__sk_common.skc_v6_daddr;
	}
}

static __always_inline void read_counts(__u64 *counts, const struct sock *sk, const struct tcp_sock *tcp, int old)
{
	__u64 finished = sk->__sk_common.skc_flags >> SOCK_DONE_BIT & 1;

	counts[FIELD_CONNECTIONS] = old != STATE_SYN_SENT && old != STATE_SYN_RECV;
	counts[FIELD_SENT_BYTES] = tcp->bytes_sent - tcp->bytes_retrans;
	counts[FIELD_RECEIVED_BYTES] = tcp->bytes_received - finished;
	counts[FIELD_SENT_SEGMENTS] = tcp->segs_out;
	counts[FIELD_RECEIVED_SEGMENTS] = tcp->segs_in;
	counts[FIELD_RETRANSMITTED_SEGMENTS] = tcp->total_retrans;
	counts[FIELD_RETRANSMITTED_BYTES] = tcp->bytes_retrans;
	counts[FIELD_OUT_OF_ORDER_SEGMENTS] = tcp->rcv_ooopack;
	counts[FIELD_BUSY] = tcp->chrono_stat[0];
	counts[FIELD_RECEIVER_LIMITED] = tcp->chrono_stat[1];
	counts[FIELD_SEND_BUFFER_LIMITED] = tcp->chrono_stat[2];
}

/*
 * The first add is a full barrier on every architecture because its result is used. Another CPU that sees one of the
 * later adds therefore also sees that the kernel has removed the socket from the hash. The walk relies on that.
 */
static __always_inline bool add_end(struct flow_row *row, __u8 end)
{
	__u64 before;
	__u32 place = end;

	/* One register for the check and the access, because the verifier does not follow a copy. */
	barrier_var(place);
	if (place >= FLOW_ENDS)
		return false;
	before = __sync_fetch_and_add(&row->ends[place], 1);
	barrier_var(before);
	return true;
}

static __always_inline void add_counts(struct flow_row *row, const __u64 *counts, __u8 end)
{
	__u64 rare = 0;

	if (!add_end(row, end))
		return;
	for (int field = 0; field < FIRST_RARE; field++)
		__sync_fetch_and_add(&row->closed[field], counts[field]);
	/* One branch for all: the verifier follows each branch, and a branch for each field takes it a second. */
	for (int field = FIRST_RARE; field < FLOW_FIELDS; field++)
		rare |= counts[field];
	if (!rare)
		return;
	for (int field = FIRST_RARE; field < FLOW_FIELDS; field++)
		__sync_fetch_and_add(&row->closed[field], counts[field]);
}

static __always_inline void count_failure(__u64 netns, const struct sock *sk, __u8 role, __u8 end)
{
	struct count_key key = {.netns = netns, .reason = end, .side = role};

	count_add(&key, (struct netns_clue){.sk = sk}, 0, role * FAILURES + end - FIRST_FAILURE);
}

static __always_inline void count_socket_end(const struct tcp_ends_wanted *wanted, const struct sock *sk,
					     const struct tcp_sock *tcp, int old)
{
	__u64 netns = netns_id(sk->__sk_common.skc_net.net), counts[FLOW_FIELDS];
	__u8 end = end_of(old, sk->sk_err, tcp->segs_out);
	struct flow_key key = {};
	struct flow_row *row;

	read_key(&key, sk, tcp, netns);
	read_counts(counts, sk, tcp, old);
	if (wanted->rows) {
		row = flow_row_of(&key, sk->__sk_common.skc_net.net);
		if (row)
			add_counts(row, counts, end);
	}
	if (wanted->connects && end >= FIRST_FAILURE)
		count_failure(netns, sk, key.role, end);
	report_end(wanted, sk, tcp, netns, counts, key.role, old, end);
}

/* A listening socket keeps its number of drops until it is closed (kernel: include/net/tcp.h, tcp_listendrop()). */
static __always_inline void count_listener_end(const struct tcp_ends_wanted *wanted, const struct sock *sk)
{
	struct flow_key key = {.netns = netns_id(sk->__sk_common.skc_net.net), .role = ROLE_LISTENER};
	__u32 drops = BPF_CORE_READ(sk, sk_drops.counter);
	struct flow_row *row;

	if (!wanted->listens || !drops)
		return;
	key.port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	row = flow_row_of(&key, sk->__sk_common.skc_net.net);
	if (row && add_end(row, END_CLOSED))
		__sync_fetch_and_add(&row->closed[FIELD_CONNECTIONS], drops);
}

/* Returns the duration of a handshake in nanoseconds; 0 if its start is unknown. */
static __always_inline __u64 connect_time(const struct tcp_sock *tcp, __u64 address, int old)
{
	__u32 index = hash_of(address) % SLOW_CONNECTS;
	struct slow_connect *slow;

	/* The first measured round-trip time is that of the handshake, unless a SYN was retransmitted. */
	if (!tcp->total_retrans)
		return (tcp->srtt_us >> 3) * 1000ULL;
	/* A server's SYN-ACK is sent by a request socket, before the full socket exists. */
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

static __always_inline void handle_established(const struct sock *sk, __u64 address, int old)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	struct tcp_sock *tcp;

	if (!wanted || !wanted->connects || (old != STATE_SYN_SENT && old != STATE_SYN_RECV))
		return;
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (tcp)
		count_connect(sk, tcp, address, old);
}

/*
 * Reads the smoothed round-trip time before the FIN is sent, because the other end may delay the acknowledgement of the
 * FIN.
 */
static __always_inline void handle_closing(const struct sock *sk)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	struct flow_key key = {};
	struct flow_row *row;
	struct tcp_sock *tcp;

	if (!wanted || !wanted->rows || !wanted->round_trips)
		return;
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tcp || !tcp->srtt_us)
		return;
	read_key(&key, sk, tcp, netns_id(sk->__sk_common.skc_net.net));
	row = flow_row_of(&key, sk->__sk_common.skc_net.net);
	if (row)
		flow_add_round_trip(row, tcp->srtt_us >> 3);
}

/* @param is_first whether this is the first copy, which sees each closed socket before the other copies do */
static __always_inline void handle_end(const struct sock *sk, __u64 address, int old, bool is_first)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	__u32 index = hash_of(address) % MARKS;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock((void *)sk);
	__u64 mark;

	if (!wanted || !tcp)
		return;
	mark = mark_of(address, tcp);
	if (!is_first && marks[index] == mark)
		return;
	marks[index] = mark;
	if (old == STATE_LISTEN)
		count_listener_end(wanted, sk);
	else
		count_socket_end(wanted, sk, tcp, old);
}

static __always_inline __u64 address_of(unsigned long long *ctx)
{
	__u64 address = 0;

	/* Read as memory, the pointer becomes a plain number. */
	bpf_probe_read_kernel(&address, sizeof(address), ctx);
	return address;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end, const struct sock *sk, const int old, const int new)
{
	if (sk->sk_protocol != PROTOCOL_TCP)
		return 0;
	if (delay)
		bpf_loop(delay, spin, NULL, 0);
	if (new == STATE_ESTABLISHED)
		handle_established(sk, address_of(ctx), old);
	else if (old == STATE_ESTABLISHED)
		handle_closing(sk);
	if (new == STATE_CLOSE && old != STATE_CLOSE)
		handle_end(sk, address_of(ctx), old, true);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end_again, const struct sock *sk, const int old, const int new)
{
	if (new == STATE_CLOSE && old != STATE_CLOSE && sk->sk_protocol == PROTOCOL_TCP)
		handle_end(sk, address_of(ctx), old, false);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end_third, const struct sock *sk, const int old, const int new)
{
	if (new == STATE_CLOSE && old != STATE_CLOSE && sk->sk_protocol == PROTOCOL_TCP)
		handle_end(sk, address_of(ctx), old, false);
	return 0;
}

/* When a SYN is retransmitted for the first time, the socket still has the time of the original SYN. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_end_retransmit, const struct sock *sk)
{
	__u64 address = address_of(ctx);
	__u32 index = hash_of(address) % SLOW_CONNECTS;
	struct slow_connect *slow;
	struct tcp_sock *tcp;

	if (sk->__sk_common.skc_state != STATE_SYN_SENT)
		return 0;
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tcp || tcp->inet_conn.icsk_retransmits > 1)
		return 0;
	slow = bpf_map_lookup_elem(&slow_connects, &index);
	if (!slow)
		return 0;
	slow->sk = address;
	slow->start = bpf_ktime_get_ns() - since_first_syn(tcp) * 1000ULL;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
