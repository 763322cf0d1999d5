// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts TCP sockets when they are closed. The kernel counts bytes, segments and retransmissions in each socket. A
 * program adds these counts to a row when the socket is closed, so no program has to run for each packet.
 *
 * The counts are read when the socket enters the state CLOSE because tcp_disconnect() clears them soon afterwards
 * (kernel: net/ipv4/tcp.c). By then, the kernel has already removed the socket from the hash table (net/ipv4/tcp.c,
 * tcp_set_state()).
 *
 * The kernel skips a program that is already running on the same CPU, for example in a task that was interrupted by a
 * softirq. Therefore the handler is attached several times. The first copy leaves a mark for each closed socket. The
 * other copies run right after it and count only closed sockets without a mark. Two copies are enough if only softirqs
 * interrupt programs. From 7.x on, other tasks can also preempt a program, and two copies would miss a few closed
 * sockets. User space detaches the third copy as long as the kernel skips no runs of the second one.
 */
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/flow_rows.bpf.h"
#include "common/netns.bpf.h"
#include "common/socket.bpf.h"
#include "tcp_connects.bpf.h"
#include "tcp_endings.bpf.h"
#include "tcp_ends.bpf.h"
#include <bpf/bpf_tracing.h>

#define SOCK_DONE_BIT 1 /* bit that is set once the peer's FIN was received; kernel: include/net/sock.h */

/* Kernel: include/uapi/asm-generic/errno.h */
#define ERROR_PIPE 32
#define ERROR_NETUNREACH 101
#define ERROR_CONNRESET 104
#define ERROR_TIMEDOUT 110
#define ERROR_CONNREFUSED 111
#define ERROR_HOSTUNREACH 113

/* Iterations of a loop that prolongs each run, so that more runs are skipped. Only tests set this. */
const volatile __u32 delay = 0;

static long spin(__u64 index, void *context)
{
	return 0;
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

/* A global function, so that the verifier treats its result as unknown instead of exploring each possible value. */
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

/* Like flow_cgroup(), for sockets with a typed pointer, which can be read without a helper call. */
static __always_inline __u64 cgroup_of(const struct sock *sk)
{
	struct cgroup *cgroup;

	if (!bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return 0;
	cgroup = sk->sk_cgrp_data.cgroup;
	return cgroup ? cgroup->kn->id : 0;
}

/*
 * Fills in the role, and the port of the server. A global function, so that the verifier forgets what the key contains,
 * instead of following the rest of the program for each kind of key.
 * @param ports of the socket and of the peer << 16, in network order
 */
__noinline int key_role(struct flow_key *key, __u32 backlog, int interface, int interface6, __u32 ports)
{
	if (!key)
		return 0;
	key->role = flow_role_of(backlog, interface, interface6);
	key->port = bpf_ntohs(key->role == ROLE_SERVER ? ports : ports >> 16);
	return 0;
}

static __always_inline void read_key(struct flow_key *key, const struct sock *sk, const struct tcp_sock *tcp,
				     __u64 netns)
{
	const struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	int interface6 = 0;

	key->netns = netns;
	if (netns == node_netns)
		key->cgroup = cgroup_of(sk);
	if (sk->__sk_common.skc_family == FAMILY_IPV4) {
		key->peer[10] = key->peer[11] = 0xff;
		*(__be32 *)(key->peer + 12) = sk->__sk_common.skc_daddr;
	} else {
		*(struct in6_addr *)key->peer = sk->__sk_common.skc_v6_daddr;
		interface6 = inet->pinet6->mcast_oif;
	}
	key_role(key, sk->sk_max_ack_backlog, inet->mc_index, interface6,
		 inet->inet_sport | (__u32)sk->__sk_common.skc_dport << 16);
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
 * Counts the end of a connection. Because its result is used, the atomic add is a full barrier on every architecture. A
 * CPU that sees any of the adds that follow therefore also sees that the socket was removed from the hash table. The
 * walk relies on this order.
 */
static __always_inline bool add_end(struct flow_row *row, __u8 end)
{
	__u64 before;
	__u32 place = end;

	/* Keeps the value in one register because the verifier would not apply a bound that is checked on a copy. */
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
	/* A single branch for all rare fields: with one branch per field, verification would take a second. */
	for (int field = FIRST_RARE; field < FLOW_FIELDS; field++)
		rare |= counts[field];
	if (!rare)
		return;
	for (int field = FIRST_RARE; field < FLOW_FIELDS; field++)
		__sync_fetch_and_add(&row->closed[field], counts[field]);
}

/* @param address address of the socket */
__noinline int count_failure(__u64 netns, __u64 address, __u32 role, __u32 end)
{
	struct count_key key = {.netns = netns, .reason = end, .side = role};

	count_add(&key, (struct netns_clue){.sk = (const void *)address}, 0, role * FAILURES + end - FIRST_FAILURE);
	return 0;
}

static __always_inline void log_end(struct flow_row *row, const struct flow_key *key, const struct sock *sk,
				    const struct tcp_sock *tcp)
{
	struct flow_ends ends = {
		.local_port = bpf_ntohs(tcp->inet_conn.icsk_inet.inet_sport),
		.peer_port = bpf_ntohs(sk->__sk_common.skc_dport),
	};

	if (sk->__sk_common.skc_family == FAMILY_IPV4) {
		ends.local[10] = ends.local[11] = 0xff;
		*(__be32 *)(ends.local + 12) = sk->__sk_common.skc_rcv_saddr;
	} else {
		*(struct in6_addr *)ends.local = sk->__sk_common.skc_v6_rcv_saddr;
	}
	flow_log_connection(row, key, sk->__sk_common.skc_net.net, &ends, true);
}

static __always_inline void count_row(const struct flow_key *key, const struct sock *sk, const struct tcp_sock *tcp,
				      const __u64 *counts, __u8 end, __u32 round_trip)
{
	struct flow_row *row = flow_row_of(key, sk->__sk_common.skc_net.net);

	if (!row)
		return;
	if (row->watched)
		log_end(row, key, sk, tcp);
	add_counts(row, counts, end);
	if (round_trip)
		flow_add_round_trip(row, round_trip);
}

static __always_inline void count_socket_end(const struct tcp_ends_wanted *wanted, struct ending *ending,
					     const struct sock *sk, const struct tcp_sock *tcp, __u64 address, int old)
{
	__u64 netns = netns_id(sk->__sk_common.skc_net.net);
	struct end_counts counts;
	__u8 end = end_of(old, sk->sk_err, tcp->segs_out);
	struct flow_key key = {};
	__u32 round_trip = 0;

	read_key(&key, sk, tcp, netns);
	read_counts(counts.fields, sk, tcp, old);
	if (wanted->round_trips && counts.fields[FIELD_CONNECTIONS])
		round_trip = last_round_trip(ending, tcp, address, old);
	if (wanted->rows)
		count_row(&key, sk, tcp, counts.fields, end, round_trip);
	if (wanted->connects && end >= FIRST_FAILURE)
		count_failure(netns, address, key.role, end);
	report_end(wanted, sk, tcp, address, &key, &counts, round_trip, old, end);
}

/* Counts the drops of a listening socket, which the kernel never resets (include/net/tcp.h, tcp_listendrop()). */
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

static __always_inline void handle_established(const struct sock *sk, int old)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	struct tcp_sock *tcp;

	if (!wanted || (old != STATE_SYN_SENT && old != STATE_SYN_RECV))
		return;
	if (wanted->starts)
		store_start(sk);
	if (!wanted->connects)
		return;
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (tcp)
		count_connect(sk, tcp, address_of(sk), old);
}

/*
 * Stores the round-trip time until the socket is closed. Updating the row at this point would require a second lookup.
 */
static __always_inline void handle_closing(const struct sock *sk)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	__u64 address = address_of(sk);
	struct tcp_sock *tcp;

	if (!wanted || !wanted->round_trips)
		return;
	tcp = bpf_skc_to_tcp_sock((void *)sk);
	if (tcp)
		endings[hash_of(address) % ENDINGS].left = left_of(address, tcp->srtt_us >> 3);
}

/* @param is_first whether this is the first copy, which runs before the other copies for each closed socket */
static __always_inline void handle_end(const struct sock *sk, int old, bool is_first)
{
	const struct tcp_ends_wanted *wanted = wanted_now();
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock((void *)sk);
	__u64 address = address_of(sk), mark;
	struct ending *ending = &endings[hash_of(address) % ENDINGS];

	if (!wanted || !tcp)
		return;
	mark = mark_of(address, tcp);
	if (!is_first && ending->mark == mark)
		return;
	ending->mark = mark;
	if (old == STATE_LISTEN)
		count_listener_end(wanted, sk);
	else
		count_socket_end(wanted, ending, sk, tcp, address, old);
}

/*
 * Most state changes match none of these branches. bpf_skc_to_tcp_sock() returns NULL for sockets of other protocols,
 * such as MPTCP.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end, const struct sock *sk, const int old, const int new)
{
	if (delay)
		bpf_loop(delay, spin, NULL, 0);
	if (new == STATE_CLOSE && old != STATE_CLOSE)
		handle_end(sk, old, true);
	else if (new == STATE_ESTABLISHED)
		handle_established(sk, old);
	else if (old == STATE_ESTABLISHED)
		handle_closing(sk);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end_again, const struct sock *sk, const int old, const int new)
{
	if (new == STATE_CLOSE && old != STATE_CLOSE)
		handle_end(sk, old, false);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_end_third, const struct sock *sk, const int old, const int new)
{
	if (new == STATE_CLOSE && old != STATE_CLOSE)
		handle_end(sk, old, false);
	return 0;
}

/* At the first retransmission of a SYN, the time of the original SYN is still stored in the socket. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_end_retransmit, const struct sock *sk)
{
	__u64 address = address_of(sk);
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

/* Arguments: a key of flow_rows, in words, and whether to log the connections of this row from now on. */
SEC("raw_tp/sys_enter")
int flow_watch(struct bpf_raw_tracepoint_args *ctx)
{
	struct flow_key key;
	__u64 *words = (void *)&key;
	struct flow_row *row;

	for (int word = 0; word < 5; word++)
		words[word] = ctx->args[word];
	row = bpf_map_lookup_elem(&flow_rows, &key);
	if (row)
		row->watched = ctx->args[5];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
