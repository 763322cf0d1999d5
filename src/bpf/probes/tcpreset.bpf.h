// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Decides whether a reset was orderly or cut off a connection or data. docs/resets.md documents the rule. */
#include "common/events.bpf.h"
#include "common/kernel.h"
#include "common/packet.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"

#define NO_STATE 0

/* Kernel: include/net/sock.h, enum sock_flags */
#define SOCK_DEAD (1 << 0)
#define SOCK_DONE (1 << 1) /* the peer's FIN was received */
#define SOCK_KEEPOPEN (1 << 3)
#define SOCK_LINGER (1 << 4)

#define RCV_SHUTDOWN 1

enum reset_side { SIDE_SENT, SIDE_RECEIVED };

/* A reset is orderly unless a connection or data was lost. */
enum reset_outcome { OUTCOME_ORDERLY, OUTCOME_CUT_OFF };

SHARED_ENUM(reset_side);
SHARED_ENUM(reset_outcome);

/* Data lost by a reset, in bytes without SYN and FIN. */
struct reset_scene {
	__u32 unacknowledged; /* sent or queued data that the peer has not acknowledged */
	__u32 unread; /* received data that had not been read when the socket was closed */
	__u32 refused; /* data in the segment that triggered the reset */
	__u8 answers_syn;
	__u8 never_accepted;
	__u8 outcome;
};

EVENT_RECORD(reset_scene);

static __always_inline __u8 state_of(const struct sock *sk)
{
	return sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : NO_STATE;
}

/*
 * Returns whether a TLS close_notify record may have this size: with TLS 1.3, or with TLS 1.2 and AES-GCM, ChaCha20, or
 * AES-CBC with SHA-1, SHA-256 or SHA-384. Both ends send this record, and few programs wait for the peer's.
 */
static __always_inline bool is_close_notify(__u32 bytes)
{
	return bytes == 24 || bytes == 31 || bytes == 23 || bytes == 53 || bytes == 69 || bytes == 85;
}

static __always_inline bool is_data(__u32 bytes)
{
	return bytes && !is_close_notify(bytes);
}

#define QUEUE_DEPTH_MAX 24 /* enough for a balanced tree with a million segments */

/* Returns whether the last segment in the socket's queues is a FIN. */
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

/* Returns whether the socket has sent or queued a FIN that the peer has not acknowledged. */
static __always_inline bool fin_is_outstanding(const struct sock *sk, const struct sk_buff *skb, __u8 state)
{
	if (state == STATE_FIN_WAIT1 || state == STATE_CLOSING || state == STATE_LAST_ACK)
		return true;
	if (state != STATE_CLOSE)
		return false;
	/*
	 * The state before CLOSE is unknown. If a segment has arrived since the close, the FIN was already sent and the
	 * queues are empty.
	 */
	return skb || ends_with_fin(sk);
}

static __always_inline __u32 unacknowledged_bytes(const struct sock *sk, const struct sk_buff *skb, __u8 state)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	__u32 bytes = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);

	return bytes && fin_is_outstanding(sk, skb, state) ? bytes - 1 : bytes;
}

/* Returns the unread bytes of a socket that is being closed. After a received reset, queued data can still be read. */
static __always_inline __u32 unread_bytes(const struct sock *sk)
{
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	__u32 unread = BPF_CORE_READ(tcp, rcv_nxt) - BPF_CORE_READ(tcp, copied_seq);

	return unread && BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE ? unread - 1 : unread;
}

/* Returns whether the socket was closed or shut down, so that no process can read further data. */
static __always_inline bool is_closed(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DEAD || BPF_CORE_READ(sk, sk_shutdown) & RCV_SHUTDOWN;
}

/* Returns whether a reset that responds to a segment cuts off a connection or data. */
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

/*
 * Returns whether a reset that does not respond to a segment cuts off a connection or data. After a timeout, a kill or
 * a memory shortage, the socket has not changed its state yet.
 */
static __always_inline bool abort_cuts_off(const struct reset_scene *scene, const struct sock *sk, __u8 state)
{
	if (scene->never_accepted || (state != STATE_CLOSE && !is_closed(sk)))
		return true;
	return is_data(scene->unacknowledged) || is_data(scene->unread);
}

/* Returns whether the socket has sent more than a SYN. */
static __always_inline bool has_sent(__u8 state)
{
	return state != NO_STATE && state != STATE_LISTEN && state != STATE_SYN_SENT && socket_is_full(state);
}

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
