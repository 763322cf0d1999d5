// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Definitions for the socketlatency programs: clocks that measure waiting data, and events. */
#include "common/pod_filter.bpf.h"
#include "common/events.bpf.h"
#include "common/histogram.bpf.h"
#include "common/packet.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

enum socket_kind { KIND_READ, KIND_WRITE };

SHARED_ENUM(socket_kind);

SETTING __u64 threshold = 0; /* nanoseconds; data that waits longer triggers an event */

/*
 * Measures how long data has been waiting. Positions are TCP sequence numbers or datagram counts, and only increase.
 * The clock stores only the times of the oldest arrival and the next one. After a partial read, the rest of the oldest
 * arrival is therefore measured from the next arrival, so its waiting time may be wrong.
 */
struct clock {
	__u64 first; /* time of the oldest arrival in nanoseconds; 0 if no data is waiting */
	__u64 second; /* time of the next arrival; 0 if there is none */
	__u32 position; /* all data before this position has been processed */
	__u32 end; /* end of the oldest arrival */
};

struct socket_state {
	struct clock read, write;
	__u32 arrived; /* number of datagrams received */
	__u32 call_end; /* end of the data that the process is currently writing; 0 if unknown */
	__u32 writer; /* process ID */
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

NETNS_HISTOGRAMS(socket_histograms);

struct socket_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 delay; /* nanoseconds */
	__u32 kind;
	__u32 waiting; /* bytes or datagrams in the queue before this read or transmission */
	__u32 pid;
	char process[16];
	struct packet_tuple tuple; /* the source is the sender of the data */
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(socket_event);

static __always_inline bool is_inet(const struct sock *sk, __u16 protocol)
{
	__u16 family = sk->__sk_common.skc_family;

	return (family == FAMILY_IPV4 || family == FAMILY_IPV6) && sk->sk_protocol == protocol;
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

/* Reads the tuple with the sender of the data as the source. */
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

	if (!passes_pod_filter(netns))
		return;
	histograms = histograms_of(netns, (struct netns_clue){.sk = sk});
	if (since >= now)
		delay = 0;
	if (histograms)
		histogram_add_shared(kind == KIND_READ ? &histograms->read : &histograms->write, delay);
	if (!events_enabled || delay <= threshold)
		return;
	event = event_reserve(netns, (struct netns_clue){.sk = sk}, sizeof(*event));
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
