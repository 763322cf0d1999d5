// SPDX-License-Identifier: GPL-2.0-only
/* Time that received data waits in a socket before it is read, and time that written data waits before it is sent. */
#include "socketlatency.bpf.h"

/* Kernel: include/linux/socket.h. Reads with these flags leave the data in the queue or return something else. */
#define FLAG_PEEK 0x2
#define FLAG_ERROR_QUEUE 0x2000

/* Range of positions in the receive queue, excluding `end`. */
struct queue {
	__u32 position, end;
};

static __always_inline void read_tcp_queue(struct queue *queue, struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp)
		return;
	queue->position = tcp->copied_seq;
	queue->end = tcp->rcv_nxt;
}

static __always_inline void read_udp_queue(struct queue *queue, struct sock *sk, const struct socket_state *state)
{
	struct udp_sock *udp = (struct udp_sock *)sk;

	queue->end = state->arrived;
	queue->position = queue->end - sk->sk_receive_queue.qlen - BPF_CORE_READ(udp, reader_queue.qlen);
}

static __always_inline void read_queue(struct queue *queue, struct sock *sk, const struct socket_state *state)
{
	if (sk->sk_protocol == IPPROTO_TCP)
		read_tcp_queue(queue, sk);
	else
		read_udp_queue(queue, sk, state);
}

static __always_inline bool is_empty(const struct queue *queue)
{
	return (__s32)(queue->end - queue->position) <= 0;
}

static __always_inline int handle_arrival(struct sock *sk)
{
	struct socket_state *state;
	struct queue queue = {};
	struct clock *clock;

	if (!is_inet(sk, IPPROTO_TCP) && !is_inet(sk, IPPROTO_UDP))
		return 0;
	/* A listening socket has connections waiting to be accepted, but no data. */
	if (sk->__sk_common.skc_state == STATE_LISTEN || !passes_pod_filter(netns_id(sk->__sk_common.skc_net.net)))
		return 0;
	state = bpf_sk_storage_get(&socket_states, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) {
		count_miss(untracked);
		return 0;
	}
	__sync_fetch_and_add(&state->arrived, 1);
	read_queue(&queue, sk, state);
	if (is_empty(&queue))
		return 0;
	clock = &state->read;
	/*
	 * If the datagram is the only one in the queue, its wait starts now. A clock that is still running shows that
	 * the program missed the reads of earlier datagrams.
	 */
	if (!clock->first || (sk->sk_protocol == IPPROTO_UDP && queue.end - queue.position == 1)) {
		clock->second = 0;
		clock->position = queue.position;
		clock->end = queue.end;
		clock->first = bpf_ktime_get_ns();
	} else if (!clock->second && (__s32)(queue.end - clock->end) > 0) {
		clock->second = bpf_ktime_get_ns();
	}
	return 0;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(data_arrived, struct sock *sk)
{
	return handle_arrival(sk);
}

/* Used before 6.3, which added the tracepoint to the hooked function. */
SEC("fentry/sock_def_readable")
int BPF_PROG(data_arrived_entry, struct sock *sk)
{
	return handle_arrival(sk);
}

/*
 * Returns whether the kernel itself has consumed data (splice, kTLS, sockmap) since the process last read. In this
 * case, the delay cannot be attributed to the process. One extra sequence number is allowed for the FIN.
 */
static __always_inline bool was_read_by_others(const struct clock *clock, const struct queue *queue, __u32 length)
{
	return (__s32)(queue->position - clock->position) > (__s32)length + 1;
}

static __always_inline int handle_read(struct sock *sk, int length, int flags)
{
	bool is_tcp = is_inet(sk, IPPROTO_TCP);
	struct socket_state *state;
	struct queue queue = {};
	struct clock *clock;
	__u64 now;

	/* Datagrams may be empty. A stream returns 0 bytes only at its end. */
	if (length < is_tcp || flags & (FLAG_PEEK | FLAG_ERROR_QUEUE))
		return 0;
	if (!is_tcp && !is_inet(sk, IPPROTO_UDP))
		return 0;
	state = bpf_sk_storage_get(&socket_states, sk, NULL, 0);
	if (!state)
		return 0;
	clock = &state->read;
	if (!clock->first)
		return 0;
	read_queue(&queue, sk, state);
	now = bpf_ktime_get_ns();
	if (is_tcp && was_read_by_others(clock, &queue, length)) {
		count_miss(untracked);
		clock->first = now;
		clock->end = queue.end;
	} else {
		observe(sk, KIND_READ, clock->first, now, queue.end - queue.position + (is_tcp ? length : 1), state);
	}
	clock->position = queue.position;
	if (is_empty(&queue)) {
		/* Another CPU may just have added data without starting the clock because it was still running. */
		__sync_lock_test_and_set(&clock->first, 0);
		read_queue(&queue, sk, state);
		if (is_empty(&queue) || clock->first)
			return 0;
		clock->end = queue.end;
		clock->second = 0;
		clock->first = now;
	} else if ((__s32)(queue.position - clock->end) >= 0) {
		clock->first = clock->second ? clock->second : now;
		clock->end = queue.end;
		clock->second = 0;
	}
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(data_read, struct sock *sk, int length, int flags)
{
	return handle_read(sk, length, flags);
}

/*
 * Used before 6.3. These functions, one per address family, are the callers of the code to which 6.3 added the
 * tracepoint. Reads that were already in progress when the program was attached are missed.
 */
SEC("fexit/inet_recvmsg")
int BPF_PROG(data_read_v4_exit, struct socket *socket, void *message, __u64 size, int flags, int length)
{
	return handle_read(socket->sk, length, flags);
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(data_read_v6_exit, struct socket *socket, void *message, __u64 size, int flags, int length)
{
	return handle_read(socket->sk, length, flags);
}

/*
 * Runs at the start of each part of a write. The part's data will start at write_seq. If write_seq has not changed
 * since the clock was started, the previous attempt failed for lack of memory, so the clock is restarted. Needs no
 * atomic operations because the socket is locked here and in data_sent.
 */
static __always_inline int handle_write(struct sock *sk, __u64 size)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct socket_state *state;
	struct clock *clock;

	if (!passes_pod_filter(netns_id(sk->__sk_common.skc_net.net)))
		return 0;
	state = bpf_sk_storage_get(&socket_states, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state || !tcp) {
		count_miss(untracked);
		return 0;
	}
	clock = &state->write;
	if (size)
		state->call_end = tcp->write_seq + size;
	if (!clock->first || tcp->write_seq == clock->position) {
		clock->first = bpf_ktime_get_ns();
		clock->second = 0;
		clock->position = tcp->write_seq;
		state->writer = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(state->writer_name, sizeof(state->writer_name));
	} else if (!clock->second) {
		clock->second = bpf_ktime_get_ns();
		clock->end = tcp->write_seq;
	}
	return 0;
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(data_written, struct sock *sk)
{
	return handle_write(sk, 0);
}

/*
 * Used on kernels without the tracepoint. Together, the following two hooks run at the start of each write and after
 * each wait for buffer space.
 */
SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(data_written_entry, struct sock *sk, void *message, __u64 size)
{
	return handle_write(sk, size);
}

SEC("fexit/sk_stream_wait_memory")
int BPF_PROG(write_goes_on_exit, struct sock *sk)
{
	return is_inet(sk, IPPROTO_TCP) ? handle_write(sk, 0) : 0;
}

/* Before 6.5, sendfile and splice use this function to write. */
SEC("fentry/do_tcp_sendpages")
int BPF_PROG(pages_written_entry, struct sock *sk, void *page, int offset, __u64 size)
{
	return handle_write(sk, size);
}

/* Computes the sequence number after the last byte of a TCP packet; returns false if the packet has no data. */
static __always_inline bool read_sequence_end(struct sk_buff *skb, __u32 *end)
{
	struct {
		__be16 source, destination;
		__be32 sequence, acknowledged;
		__u8 header_length, flags;
	} header;
	__u64 transport = (__u64)skb->head + skb->transport_header;
	__u32 before, length = skb->len;

	if (bpf_probe_read_kernel(&header, sizeof(header), (void *)transport))
		return false;
	before = transport - (__u64)skb->data + (header.header_length >> 4) * 4;
	if (before >= length)
		return false;
	*end = bpf_ntohl(header.sequence) + length - before;
	return true;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(data_sent, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	struct socket_state *state;
	struct clock *clock;
	__u32 end, written;
	__u64 now;

	if (!sk || sk->__sk_common.skc_state == STATE_TIME_WAIT || sk->__sk_common.skc_state == STATE_NEW_SYN_RECV ||
	    !is_inet(sk, IPPROTO_TCP))
		return 0;
	state = bpf_sk_storage_get(&socket_states, sk, NULL, 0);
	if (!state || !state->write.first)
		return 0;
	clock = &state->write;
	/* Ignores retransmitted packets, and packets that pass a second device, such as the one below a VLAN. */
	if (!read_sequence_end(skb, &end) || (__s32)(end - clock->position) <= 0)
		return 0;
	now = bpf_ktime_get_ns();
	written = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	observe(sk, KIND_WRITE, clock->first, now, written - clock->position, state);
	clock->position = end;
	if ((__s32)(written - end) <= 0) {
		/* The process may still be writing the rest of the data. */
		clock->first = state->call_end && (__s32)(state->call_end - end) > 0 ? now : 0;
		clock->second = 0;
	} else if (clock->second && (__s32)(end - clock->end) >= 0) {
		clock->first = clock->second;
		clock->second = 0;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
