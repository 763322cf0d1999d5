// SPDX-License-Identifier: GPL-2.0-only
/* How long data lies in a socket: until its process reads it, and until what the process has written is sent. */
#include "common/aim.bpf.h"
#include "common/events.bpf.h"
#include "common/histogram.bpf.h"
#include "common/packet.bpf.h"
#include "common/socket.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Kernel: include/linux/socket.h. What a process gets with these, it gets again, or is no data. */
#define FLAG_PEEK 0x2
#define FLAG_ERROR_QUEUE 0x2000

#define KIND_READ 0
#define KIND_WRITE 1

const volatile __u64 threshold = 0; /* nanoseconds: an event for what takes longer */

/*
 * Since when data has waited, in positions that only grow: sequence numbers of TCP, numbers of datagrams. Of what came
 * after the first only when the next came is kept, so what is left by a part of it may seem to have waited longer than
 * it did: since that one.
 */
struct clock {
	__u64 first; /* nanoseconds; 0: nothing waits */
	__u64 second; /* when the next came; 0: none came */
	__u32 position; /* done up to here, the last time that we looked */
	__u32 end; /* came with the first up to here */
};

struct socket_state {
	struct clock read, write;
	__u32 arrived; /* datagrams */
	__u32 call_end; /* up to here goes what the process is writing just now; 0: not known */
	__u32 writer; /* process id */
	char writer_name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} socket_states SEC(".maps");

struct socket_histograms {
	struct histogram read;
	struct histogram write;
};

/* By namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct socket_histograms);
} socket_histograms SEC(".maps");

struct socket_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 delay; /* nanoseconds */
	__u32 kind;
	__u32 waiting; /* bytes, or datagrams, in the queue when this part of them left it */
	__u32 pid;
	char process[16];
	struct packet_tuple tuple; /* as the data went: from its sender to its receiver */
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(socket_event);

static __always_inline bool is_inet(const struct sock *sk, __u16 protocol)
{
	__u16 family = sk->__sk_common.skc_family;

	return (family == FAMILY_IPV4 || family == FAMILY_IPV6) && sk->sk_protocol == protocol;
}

static __always_inline struct socket_histograms *histograms_of(__u64 netns)
{
	static const struct socket_histograms zero = {};
	struct socket_histograms *histograms = bpf_map_lookup_elem(&socket_histograms, &netns);

	if (histograms)
		return histograms;
	bpf_map_update_elem(&socket_histograms, &netns, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&socket_histograms, &netns);
}

static __always_inline void read_end(__u8 *address, __be32 ipv4, const struct in6_addr *ipv6, __u16 family)
{
	if (family == FAMILY_IPV6) {
		bpf_probe_read_kernel(address, 16, ipv6);
		return;
	}
	address[10] = address[11] = 0xff;
	__builtin_memcpy(address + 12, &ipv4, 4);
}

/* To the socket, or from it. */
static __always_inline void read_socket_tuple(struct packet_tuple *tuple, struct sock *sk, __u32 kind)
{
	struct sock_common *common = &sk->__sk_common;
	__u16 family = common->skc_family, local = common->skc_num, remote = bpf_ntohs(common->skc_dport);
	bool reads = kind == KIND_READ;

	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->family = family == FAMILY_IPV4 ? 4 : 6;
	tuple->protocol = sk->sk_protocol;
	read_end(reads ? tuple->destination : tuple->source, common->skc_rcv_saddr, &common->skc_v6_rcv_saddr, family);
	read_end(reads ? tuple->source : tuple->destination, common->skc_daddr, &common->skc_v6_daddr, family);
	tuple->source_port = reads ? remote : local;
	tuple->destination_port = reads ? local : remote;
}

static __always_inline void observe(struct sock *sk, __u32 kind, __u64 since, __u64 now, __u32 waiting,
				    const struct socket_state *state)
{
	__u64 netns = netns_id(sk->__sk_common.skc_net.net), delay = now - since;
	struct socket_histograms *histograms;
	struct socket_event *event;

	if (!is_aimed_at(netns))
		return;
	histograms = histograms_of(netns);
	if (since >= now)
		delay = 0;
	if (histograms)
		histogram_add(kind == KIND_READ ? &histograms->read : &histograms->write, delay);
	else
		count_miss(map_full);
	if (!events_enabled || delay <= threshold)
		return;
	event = event_reserve(netns, sizeof(*event));
	if (!event)
		return;
	event->time = now;
	event->netns = netns;
	event->delay = delay;
	event->kind = kind;
	event->waiting = waiting;
	read_socket_tuple(&event->tuple, sk, kind);
	if (kind == KIND_READ) {
		event->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(event->process, sizeof(event->process));
	} else {
		event->pid = state->writer;
		__builtin_memcpy(event->process, state->writer_name, sizeof(event->process));
	}
	event_submit(event);
}

/* What is in the receive queue: from a position up to an end. */
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
	/* A connection to accept is no data. */
	if (sk->__sk_common.skc_state == STATE_LISTEN || !is_aimed_at(netns_id(sk->__sk_common.skc_net.net)))
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
	/* A datagram that is alone has no others before it, though it seems so: we have missed how they were read. */
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

/* Before 6.3: where that tracepoint is since. */
SEC("fentry/sock_def_readable")
int BPF_PROG(data_arrived_entry, struct sock *sk)
{
	return handle_arrival(sk);
}

/*
 * The kernel itself may have read since we looked (splice, kTLS, a sockmap): who reads the rest has not kept it
 * waiting. The end of a stream takes a sequence number too.
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

	/* A datagram may be empty; a stream is then at its end. */
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
		/* More may come in at this moment, on another CPU, where the clock still seemed to run. */
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

/* Before 6.3: what that tracepoint is fed from, by family. A read that began before the program came is not seen. */
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
 * At the start of each part of a write: what is written comes after write_seq. Where nothing has come since the clock
 * was started, that write was refused for want of memory. The socket is locked, as it is in data_sent.
 */
static __always_inline int handle_write(struct sock *sk, __u64 size)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct socket_state *state;
	struct clock *clock;

	if (!is_aimed_at(netns_id(sk->__sk_common.skc_net.net)))
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

/* Before that tracepoint: at the start of a write, all parts of it together, and after each wait for room. */
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

/* Before 6.5 it is what sendfile and splice write by. */
SEC("fentry/do_tcp_sendpages")
int BPF_PROG(pages_written_entry, struct sock *sk, void *page, int offset, __u64 size)
{
	return handle_write(sk, size);
}

/* Sequence number after the last byte of a packet of TCP; false where it has none. */
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
	/* Sent again, or seen again on a device below, it is nothing new. */
	if (!read_sequence_end(skb, &end) || (__s32)(end - clock->position) <= 0)
		return 0;
	now = bpf_ktime_get_ns();
	written = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	observe(sk, KIND_WRITE, clock->first, now, written - clock->position, state);
	clock->position = end;
	if ((__s32)(written - end) <= 0) {
		/* What is sent may be the first part of a write that goes on at this moment. */
		clock->first = state->call_end && (__s32)(state->call_end - end) > 0 ? now : 0;
		clock->second = 0;
	} else if (clock->second && (__s32)(end - clock->end) >= 0) {
		clock->first = clock->second;
		clock->second = 0;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
