// SPDX-License-Identifier: GPL-2.0-only
/* Counts TCP retransmissions by namespace and kind. Sends events for a limited number of them. */
#include "common/pod_filter.bpf.h"
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/netns.bpf.h"
#include "common/packet.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"
#include <bpf/bpf_tracing.h>

/* Kernel: include/uapi/linux/tcp.h, include/net/inet_connection_sock.h */
#define CA_RECOVERY 3
#define CA_LOSS 4
#define TIME_LOSS_PROBE 5

enum retransmit_kind { KIND_RTO, KIND_FAST, KIND_TLP, KIND_SYN, KIND_SYNACK, KIND_MTU, KIND_FASTOPEN };

SHARED_ENUM(retransmit_kind);

/* Off by default because most tail loss probes are needless: nothing was lost, and the peer only delayed its ACK. */
SETTING bool loss_probe_events = false;

struct tcp_retransmit_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	struct packet_tuple tuple;
	__u32 sequence; /* sequence number of the first byte */
	__u32 length; /* bytes of data; 0 for a SYN or FIN without data */
	__u32 retransmits; /* number of retransmissions on this connection, including this one */
	__u32 needless; /* number of retransmissions that the peer reported as duplicates (DSACK) */
	__u32 srtt; /* microseconds; 0 before the first measurement */
	__u32 cwnd; /* segments */
	__u8 kind;
	__u8 state;
	__u8 confirmed; /* the ACK for this SYN-ACK has arrived */
	__u8 deferred; /* the server waits for data with the ACK (TCP_DEFER_ACCEPT) */
};

EVENT_RECORD(tcp_retransmit_event);
EVENT_RECORD(packet_tuple);

/*
 * Returns whether neither a timeout nor a gap caused the retransmission. In both of these cases, the kernel sets the
 * undo marker in order to be able to undo its reaction. The kernel also enters the Loss state when it has to resend
 * segments that were not lost, but then sets no marker (net/ipv4/tcp_input.c, tcp_simple_retransmit()).
 */
static __always_inline bool is_no_loss(const struct tcp_sock *tcp, __u8 congestion)
{
	return congestion != CA_RECOVERY && !tcp->undo_marker && !tcp->inet_conn.icsk_retransmits;
}

/* If the server did not accept the data in the SYN, it is retransmitted when the connection is established. */
static __always_inline bool is_fastopen(const struct tcp_sock *tcp)
{
	return BPF_CORE_READ_BITFIELD(tcp, syn_data) && !BPF_CORE_READ_BITFIELD(tcp, syn_data_acked) &&
	       tcp->bytes_acked <= 1;
}

/*
 * Returns whether data is retransmitted in smaller segments because its segments were too large for the path. The MTUs
 * of the path and the device are compared because a timeout while the window is reduced (ECN) sets no undo marker
 * either.
 */
static __always_inline bool is_for_mtu(const struct sock *sk, const struct tcp_sock *tcp)
{
	return tcp->inet_conn.icsk_pmtu_cookie < BPF_CORE_READ(sk, sk_dst_cache, dev, mtu);
}

static __always_inline __u32 retransmit_kind(const struct sock *sk, const struct tcp_sock *tcp)
{
	const struct inet_connection_sock *connection = &tcp->inet_conn;
	__u8 state = sk->__sk_common.skc_state, congestion = BPF_CORE_READ_BITFIELD(connection, icsk_ca_state);

	if (state == STATE_SYN_SENT)
		return KIND_SYN;
	if (state == STATE_SYN_RECV)
		return KIND_SYNACK;
	if (is_no_loss(tcp, congestion) && is_fastopen(tcp))
		return KIND_FASTOPEN;
	/*
	 * While the kernel sends a loss probe, its timer is still marked as pending. In the Recovery state, a pending
	 * timer does not mean that this retransmission is the probe.
	 */
	if (congestion < CA_RECOVERY && connection->icsk_pending == TIME_LOSS_PROBE)
		return KIND_TLP;
	/* A timeout puts the connection into the Loss state, where it stays until all lost data is acknowledged. */
	if (congestion == CA_LOSS)
		return is_no_loss(tcp, congestion) && is_for_mtu(sk, tcp) ? KIND_MTU : KIND_RTO;
	return KIND_FAST;
}

/* Counts a retransmission. Returns its namespace; 0 if the Pod filter excludes it. */
static __always_inline __u64 count_retransmit(const struct sock *sk, __u32 kind)
{
	struct count_key key = {.netns = netns_id(sk->__sk_common.skc_net.net), .reason = kind};

	if (!passes_pod_filter(key.netns))
		return 0;
	count_add(&key, (struct netns_clue){.sk = sk}, 0, kind);
	return key.netns;
}

static __always_inline struct tcp_retransmit_event *reserve_event(const struct sock *sk, __u64 netns, __u32 kind)
{
	struct tcp_retransmit_event *event;

	if (!events_enabled || !netns || (kind == KIND_TLP && !loss_probe_events))
		return NULL;
	event = event_reserve(netns, (struct netns_clue){.sk = sk}, sizeof(*event));
	if (!event)
		return NULL;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->netns = netns;
	event->kind = kind;
	return event;
}

static __always_inline int handle_segment(struct sock *sk, struct sk_buff *skb)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct tcp_retransmit_event *event;
	__u64 netns;
	__u32 kind;

	if (!tcp)
		return 0;
	kind = retransmit_kind(sk, tcp);
	netns = count_retransmit(sk, kind);
	event = reserve_event(sk, netns, kind);
	if (!event)
		return 0;
	socket_read_tuple(&event->tuple, sk);
	event->sequence = BPF_CORE_READ((struct tcp_skb_cb *)skb->cb, seq);
	event->length = packet_tcp_length(skb);
	event->retransmits = tcp->total_retrans;
	event->needless = tcp->dsack_dups;
	event->srtt = tcp->srtt_us >> 3;
	event->cwnd = tcp->snd_cwnd;
	event->state = sk->__sk_common.skc_state;
	event_submit(event);
	return 0;
}

/* Variant with the error argument (added between 6.12 and 6.18). Also fires for segments that could not be sent. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit_error, struct sock *sk, struct sk_buff *skb, int error)
{
	return error ? 0 : handle_segment(sk, skb);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit, struct sock *sk, struct sk_buff *skb)
{
	return handle_segment(sk, skb);
}

/* At this point, the connection is only a request on the listening socket and not a full socket. */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(tcp_retransmit_synack, struct sock *sk, struct request_sock *request)
{
	__u64 netns = count_retransmit(sk, KIND_SYNACK);
	struct tcp_retransmit_event *event = reserve_event(sk, netns, KIND_SYNACK);

	if (!event)
		return 0;
	socket_read_tuple(&event->tuple, (struct sock *)request);
	event->sequence = BPF_CORE_READ((struct tcp_request_sock *)request, snt_isn);
	event->retransmits = request->num_retrans + 1;
	event->state = STATE_NEW_SYN_RECV;
	event->confirmed = BPF_CORE_READ_BITFIELD_PROBED((struct inet_request_sock *)request, acked);
	event->deferred = !!BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_accept_queue.rskq_defer_accept);
	event_submit(event);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
