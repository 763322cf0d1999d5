// SPDX-License-Identifier: GPL-2.0-only
/* TCP resets, sent and received, by namespace and reason; and for a limited number the scene. */
#include "common/aim.bpf.h"
#include "common/argument.bpf.h"
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/netns.bpf.h"
#include "common/packet.bpf.h"
#include "common/process.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

enum reset_side { SIDE_SENT, SIDE_RECEIVED };

/* Whether it took something away from somebody, see is_cut_off(). */
enum reset_outcome { OUTCOME_ORDERLY, OUTCOME_CUT_OFF };

/* What counts are by: the side in the lowest bit, the outcome above it. */
#define COUNT_SIDE(side, outcome) ((side) | (outcome) << 1)

/* Reasons of ours, where the kernel gives none: above its own. */
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

SHARED_ENUM(reset_side);
SHARED_ENUM(reset_outcome);
SHARED_ENUM(reset_reason);

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak; /* 6.2 */

#define NO_STATE 0

/* Kernel: include/net/sock.h, enum sock_flags */
#define SOCK_DEAD (1 << 0)
#define SOCK_DONE (1 << 1) /* the other end's FIN is here */
#define SOCK_KEEPOPEN (1 << 3)
#define SOCK_LINGER (1 << 4)

#define RCV_SHUTDOWN 1

/* What a reset ends, and what is lost by it. Bytes of data, without SYN and FIN. */
struct reset_scene {
	__u32 unacknowledged; /* sent or to be sent, and not confirmed by the other end */
	__u32 unread; /* received, and closed over */
	__u32 refused; /* of the segment that is answered */
	__u8 answers_syn;
	__u8 never_accepted;
	__u8 outcome;
};

EVENT_RECORD(reset_scene);

struct tcp_reset_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u32 reason;
	__u8 side;
	__u8 state; /* of the socket; 0 where there is none */
	struct reset_scene scene;
	struct packet_tuple tuple; /* of the reset */
	struct event_process process;
};

EVENT_RECORD(tcp_reset_event);
EVENT_RECORD(packet_tuple);

/* The namespace of a packet that no socket wants, by its route: the kernel answers there. */
static __always_inline __u64 routed_netns(const struct sk_buff *skb)
{
	/* The lowest bit says that the route is not counted. */
	struct dst_entry *route = (struct dst_entry *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);

	return netns_read_id(BPF_CORE_READ(route, dev, nd_net.net));
}

static __always_inline __u8 state_of(const struct sock *sk)
{
	return sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : NO_STATE;
}

/*
 * Bytes of a TLS record that says that no more will come (close_notify): with TLS 1.3; with 1.2 and AES-GCM, ChaCha20,
 * AES-CBC with SHA-1, SHA-256, SHA-384. Both ends send one, and hardly any program waits for the other's.
 */
static __always_inline bool is_close_notify(__u32 bytes)
{
	return bytes == 24 || bytes == 31 || bytes == 23 || bytes == 53 || bytes == 69 || bytes == 85;
}

static __always_inline bool is_data(__u32 bytes)
{
	return bytes && !is_close_notify(bytes);
}

#define QUEUE_DEPTH_MAX 24 /* of a balanced tree: a million segments */

/* Whether the last segment in the queues of a socket is its FIN. */
static __always_inline bool ends_with_fin(const struct sock *sk)
{
	struct sk_buff *last = BPF_CORE_READ(sk, sk_write_queue.prev);
	struct rb_node *node, *next;

	if (!BPF_CORE_READ(sk, sk_write_queue.qlen)) {
		node = BPF_CORE_READ(sk, tcp_rtx_queue.rb_node);
		for (int depth = 0; node && depth < QUEUE_DEPTH_MAX; depth++) {
			next = BPF_CORE_READ(node, rb_right);
			if (!next)
				break;
			node = next;
		}
		last = (struct sk_buff *)node;
	}
	return last && packet_tcp_flags(last) & TCP_FIN;
}

/* Whether the FIN is among what is not confirmed. */
static __always_inline bool fin_is_outstanding(const struct sock *sk, const struct sk_buff *skb, __u8 state)
{
	if (state == STATE_FIN_WAIT1 || state == STATE_CLOSING || state == STATE_LAST_ACK)
		return true;
	if (state != STATE_CLOSE)
		return false;
	/* Which state it was in is not noted. What came after the close found a FIN sent, and the queues are empty. */
	return skb || ends_with_fin(sk);
}

static __always_inline __u32 unacknowledged_bytes(const struct sock *sk, const struct sk_buff *skb, __u8 state)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	__u32 bytes = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);

	return bytes && fin_is_outstanding(sk, skb, state) ? bytes - 1 : bytes;
}

/* Of a socket that is being closed: what is there after a reset that came can still be read. */
static __always_inline __u32 unread_bytes(const struct sock *sk)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	__u32 unread = BPF_CORE_READ(tcp, rcv_nxt) - BPF_CORE_READ(tcp, copied_seq);

	return unread && BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE ? unread - 1 : unread;
}

/* Nobody will read what comes: the process has closed the socket, or shut it down. */
static __always_inline bool is_closed(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DEAD || BPF_CORE_READ(sk, sk_shutdown) & RCV_SHUTDOWN;
}

/* The answer to a segment. */
static __always_inline bool answer_cuts_off(const struct reset_scene *scene, const struct sock *sk, __u8 state)
{
	if (scene->answers_syn || state == STATE_NEW_SYN_RECV)
		return true;
	if (state == STATE_LISTEN && socket_queue_full(sk))
		return true;
	if (state != NO_STATE && state != STATE_LISTEN && state != STATE_TIME_WAIT && !is_closed(sk))
		return true;
	return is_data(scene->refused) || is_data(scene->unacknowledged);
}

/* On our own account. A timeout, a killed connection and a lack of memory find the socket in its state. */
static __always_inline bool abort_cuts_off(const struct reset_scene *scene, const struct sock *sk, __u8 state)
{
	if (scene->never_accepted || (state != STATE_CLOSE && !is_closed(sk)))
		return true;
	return is_data(scene->unacknowledged) || is_data(scene->unread);
}

/* A socket that has sent more than a SYN. */
static __always_inline bool has_sent(__u8 state)
{
	return state != NO_STATE && state != STATE_LISTEN && state != STATE_SYN_SENT && socket_is_full(state);
}

/* docs/resets.md has the rule in words. */
static __always_inline void read_scene(struct reset_scene *scene, const struct sock *sk, const struct sk_buff *skb,
				       __u8 state, __u8 side)
{
	bool cut_off;

	__builtin_memset(scene, 0, sizeof(*scene));
	if (has_sent(state))
		scene->unacknowledged = unacknowledged_bytes(sk, skb, state);
	if (side == SIDE_RECEIVED) {
		cut_off = state == STATE_SYN_SENT || is_data(scene->unacknowledged);
	} else if (skb) {
		scene->answers_syn = (packet_tcp_flags(skb) & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		scene->refused = packet_tcp_length(skb);
		cut_off = answer_cuts_off(scene, sk, state);
	} else {
		scene->never_accepted = state == STATE_CLOSE && !BPF_CORE_READ(sk, sk_socket) &&
					!(BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DEAD);
		if (state == STATE_CLOSE)
			scene->unread = unread_bytes(sk);
		cut_off = abort_cuts_off(scene, sk, state);
	}
	scene->outcome = cut_off ? OUTCOME_CUT_OFF : OUTCOME_ORDERLY;
}

static __always_inline void count_reset(const struct sock *sk, const struct sk_buff *skb, __u64 netns, __u32 reason,
					__u8 side)
{
	struct count_key key = {.netns = netns, .reason = reason};
	struct tcp_reset_event *event;
	struct reset_scene scene;
	__u8 state = state_of(sk);

	if (!is_aimed_at(netns))
		return;
	read_scene(&scene, sk, skb, state, side);
	key.side = COUNT_SIDE(side, scene.outcome);
	count_add(&key, 0);
	event = events_enabled ? event_reserve(netns, sizeof(*event)) : NULL;
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->netns = netns;
	event->reason = reason;
	event->side = side;
	event->state = state;
	event->scene = scene;
	/* A listening socket knows no peer: the packet that is answered knows both ends. */
	if (skb)
		packet_read_tuple(&event->tuple, (struct sk_buff *)skb);
	else
		socket_read_tuple(&event->tuple, sk);
	if (skb || side == SIDE_RECEIVED)
		tuple_reverse(&event->tuple);
	event_read_process(&event->process);
	event_submit(event);
}

/* The answer to a packet. */
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

/* On our own account. A socket that is being closed is in CLOSE already. */
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

/* The functions are called for a reset as well, and do not answer it. */
static __always_inline bool is_reset(const struct sk_buff *skb)
{
	const void *header = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	__u8 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), header + 13);
	return flags & TCP_RST;
}

/* What it meant to the one who used the connection, by the error that the kernel gives it (tcp_reset()). */
static __always_inline int handle_received(const struct sock *sk, __u64 netns, __u8 state)
{
	__u32 reason = state == STATE_SYN_SENT     ? REASON_REFUSED
		       : state == STATE_CLOSE_WAIT ? REASON_BROKEN_PIPE
						   : REASON_BY_PEER;

	count_reset(sk, NULL, netns, reason, SIDE_RECEIVED);
	return 0;
}

/*
 * A raw tracepoint, because both pointers may be NULL (see plain_argument()). Since 6.10 there is the reason, and since
 * then it fires without a socket too.
 */
SEC("raw_tp/tcp_send_reset")
int BPF_PROG(tcp_reset_sent_reason, const struct sock *sk, const struct sk_buff *skb, __u32 reason)
{
	const struct sk_buff *packet;
	const struct sock *socket;

	/* Typed pointers again, whose faults the kernel mends: a scan of ports makes many resets, so they must be
	 * cheap. */
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
