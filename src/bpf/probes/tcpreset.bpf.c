// SPDX-License-Identifier: GPL-2.0-only
/* Counts sent and received TCP resets by namespace and reason. Sends events for a limited number of them. */
#include "common/pod_filter.bpf.h"
#include "common/argument.bpf.h"
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/netns.bpf.h"
#include "common/packet.bpf.h"
#include "common/process.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"
#include "tcpreset.bpf.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

/* Value of count_key.side: the direction in the lowest bit, followed by the outcome. */
#define COUNT_SIDE(side, outcome) ((side) | (outcome) << 1)

/* Reasons that the probe derives if the kernel gives none. Their values are above those of the kernel's reasons. */
enum reset_reason {
	REASON_NO_LISTENER = 1 << 16,
	REASON_QUEUE_FULL,
	REASON_TIME_WAIT,
	REASON_AFTER_CLOSE,
	REASON_INVALID_SEGMENT,
	REASON_LINGER,
	REASON_NOT_ACCEPTED,
	REASON_UNREAD_DATA,
	REASON_KEEPALIVE,
	REASON_ABORT,
	REASON_REFUSED,
	REASON_BROKEN_PIPE,
	REASON_BY_PEER,
};

SHARED_ENUM(reset_reason);

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak; /* 6.2 */

struct tcp_reset_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u32 reason;
	__u8 side;
	__u8 state; /* state of the socket; 0 if there is none */
	struct reset_scene scene;
	struct packet_tuple tuple; /* addresses of the reset */
	struct event_process process;
};

EVENT_RECORD(tcp_reset_event);
EVENT_RECORD(packet_tuple);

static __always_inline void count_reset(const struct sock *sk, const struct sk_buff *skb, __u64 netns, __u32 reason,
					__u8 side)
{
	struct count_key key = {.netns = netns, .reason = reason};
	struct tcp_reset_event *event;
	struct netns_clue clue = {.sk = sk};
	struct reset_scene scene;
	__u8 state = state_of(sk);

	if (!passes_pod_filter(netns))
		return;
	read_scene(&scene, sk, skb, state, side);
	key.side = COUNT_SIDE(side, scene.outcome);
	count_add(&key, clue, 0, key.side);
	event = events_enabled ? event_reserve(netns, clue, sizeof(*event)) : NULL;
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->netns = netns;
	event->reason = reason;
	event->side = side;
	event->state = state;
	event->scene = scene;
	/*
	 * A listening socket has no peer address, so both addresses are taken from the packet that triggered the reset.
	 */
	if (skb)
		packet_read_tuple(&event->tuple, (struct sk_buff *)skb);
	else
		socket_read_tuple(&event->tuple, sk);
	if (skb || side == SIDE_RECEIVED)
		tuple_reverse(&event->tuple);
	event_read_process(&event->process);
	event_submit(event);
}

/* Derives the reason of a reset that responds to a packet. */
static __always_inline __u32 answer_reason(const struct sock *sk, __u8 state)
{
	switch (state) {
	case NO_STATE:
		return REASON_NO_LISTENER;
	case STATE_LISTEN:
		return socket_queue_full(sk) ? REASON_QUEUE_FULL : REASON_INVALID_SEGMENT;
	case STATE_TIME_WAIT:
		return REASON_TIME_WAIT;
	case STATE_NEW_SYN_RECV:
		return REASON_INVALID_SEGMENT;
	default:
		return is_closed(sk) ? REASON_AFTER_CLOSE : REASON_INVALID_SEGMENT;
	}
}

/*
 * Derives the reason of a reset that does not respond to a packet. A socket that the process has closed is already in
 * the state CLOSE.
 */
static __always_inline __u32 abort_reason(const struct sock *sk, __u8 state)
{
	unsigned long flags = BPF_CORE_READ(sk, __sk_common.skc_flags);

	if (state == STATE_CLOSE && flags & SOCK_LINGER && !BPF_CORE_READ(sk, sk_lingertime))
		return REASON_LINGER;
	if (state == STATE_CLOSE)
		return BPF_CORE_READ(sk, sk_socket) ? REASON_UNREAD_DATA : REASON_NOT_ACCEPTED;
	if (!(flags & SOCK_DEAD) && flags & SOCK_KEEPOPEN && !in_process())
		return REASON_KEEPALIVE;
	return REASON_ABORT;
}

static __always_inline int count_sent(const struct sock *sk, const struct sk_buff *skb, __u64 netns, __u32 reason)
{
	if (netns)
		count_reset(sk, skb, netns, reason, SIDE_SENT);
	else
		count_miss(no_netns);
	return 0;
}

static __always_inline int handle_sent(const struct sock *sk, const struct sk_buff *skb, __u32 reason)
{
	return count_sent(sk, skb, sk ? netns_read_id(BPF_CORE_READ(sk, __sk_common.skc_net.net)) : routed_netns(skb),
			  reason);
}

static __always_inline int handle_answer(const struct sock *sk, const struct sk_buff *skb)
{
	return handle_sent(sk, skb, answer_reason(sk, state_of(sk)));
}

static __always_inline int handle_abort(const struct sock *sk)
{
	return handle_sent(sk, NULL, abort_reason(sk, state_of(sk)));
}

/* The kernel also calls the hooked functions for received resets, to which it sends no response. */
static __always_inline bool is_reset(const struct sk_buff *skb)
{
	const void *header = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	__u8 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), header + 13);
	return flags & TCP_RST;
}

/*
 * Counts a received reset. The reason follows from the socket state, and matches the error that the process gets (see
 * tcp_reset()).
 */
static __always_inline int handle_received(const struct sock *sk, __u64 netns, __u8 state)
{
	__u32 reason = state == STATE_SYN_SENT     ? REASON_REFUSED
		       : state == STATE_CLOSE_WAIT ? REASON_BROKEN_PIPE
						   : REASON_BY_PEER;

	count_reset(sk, NULL, netns, reason, SIDE_RECEIVED);
	return 0;
}

/*
 * A raw tracepoint, because both pointers may be NULL (see plain_argument()). Since 6.10, the tracepoint has a reason
 * argument and also fires for resets without a socket.
 */
SEC("raw_tp/tcp_send_reset")
int BPF_PROG(tcp_reset_sent_reason, const struct sock *sk, const struct sk_buff *skb, __u32 reason)
{
	const struct sk_buff *packet;
	const struct sock *socket;

	/*
	 * Casts the pointers to typed ones, which can be read without a helper because the kernel handles faults. This
	 * cost matters because a port scan triggers many resets.
	 */
	if (sk) {
		socket = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
		return count_sent(sk, skb, netns_id(socket->__sk_common.skc_net.net), reason);
	}
	packet = bpf_rdonly_cast(skb, bpf_core_type_id_kernel(struct sk_buff));
	if (!packet->dev)
		return count_sent(sk, skb, routed_netns(skb), reason);
	return count_sent(sk, skb, netns_id(packet->dev->nd_net.net), reason);
}

SEC("raw_tp/tcp_send_reset")
int BPF_PROG(tcp_reset_sent, const struct sock *sk, const struct sk_buff *skb)
{
	return skb ? handle_answer(sk, skb) : handle_abort(sk);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tcp_reset_received, const struct sock *sk)
{
	return handle_received(sk, netns_id(sk->__sk_common.skc_net.net), sk->__sk_common.skc_state);
}

static __always_inline int handle_answer_call(const struct sock *sk, const struct sk_buff *skb)
{
	return is_reset(skb) ? 0 : handle_answer(sk, skb);
}

SEC("fentry/tcp_v4_send_reset")
int tcp_reset_v4_entry(__u64 *ctx)
{
	return handle_answer_call(plain_argument(ctx, 0), plain_argument(ctx, 1));
}

SEC("fentry/tcp_v6_send_reset")
int tcp_reset_v6_entry(__u64 *ctx)
{
	return handle_answer_call(plain_argument(ctx, 0), plain_argument(ctx, 1));
}

SEC("fentry/tcp_send_active_reset")
int BPF_PROG(tcp_reset_active_entry, struct sock *sk)
{
	return handle_abort(sk);
}

SEC("kprobe/tcp_v4_send_reset")
int BPF_KPROBE(tcp_reset_v4_probe, const struct sock *sk, const struct sk_buff *skb)
{
	return handle_answer_call(sk, skb);
}

SEC("kprobe/tcp_v6_send_reset")
int BPF_KPROBE(tcp_reset_v6_probe, const struct sock *sk, const struct sk_buff *skb)
{
	return handle_answer_call(sk, skb);
}

SEC("kprobe/tcp_send_active_reset")
int BPF_KPROBE(tcp_reset_active_probe, struct sock *sk)
{
	return handle_abort(sk);
}

SEC("fentry/tcp_reset")
int BPF_PROG(tcp_reset_received_entry, struct sock *sk)
{
	return handle_received(sk, netns_id(sk->__sk_common.skc_net.net), sk->__sk_common.skc_state);
}

SEC("kprobe/tcp_reset")
int BPF_KPROBE(tcp_reset_received_probe, struct sock *sk)
{
	return handle_received(sk, netns_read_id(BPF_CORE_READ(sk, __sk_common.skc_net.net)), state_of(sk));
}

char LICENSE[] SEC("license") = "GPL";
