// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "share.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Rows of TCP traffic by namespace, role, peer and port. The hooks add a socket's counts when the socket is closed, and
 * the walk adds the current counts of the open sockets (ADR 37). The objects of the hooks and of the walk share these
 * maps.
 */
enum flow_role {
	ROLE_CLIENT,
	ROLE_SERVER,
	ROLE_LISTENER, /* connections dropped by listening sockets, in the field FIELD_CONNECTIONS */
};

#define FLOW_ROLES 3

enum flow_field {
	FIELD_CONNECTIONS, /* established connections */
	FIELD_SENT_BYTES, /* payload */
	FIELD_RECEIVED_BYTES,
	FIELD_SENT_SEGMENTS,
	FIELD_RECEIVED_SEGMENTS,
	FIELD_RETRANSMITTED_SEGMENTS,
	FIELD_RETRANSMITTED_BYTES,
	FIELD_OUT_OF_ORDER_SEGMENTS,
	FIELD_BUSY, /* jiffies; the times in this field and the next two do not overlap */
	FIELD_RECEIVER_LIMITED,
	FIELD_SEND_BUFFER_LIMITED,
};

#define FLOW_FIELDS 11
#define FIRST_RARE FIELD_RETRANSMITTED_SEGMENTS /* most connections have none of these */

/* How established connections ended, followed by the causes of connections that were not established. */
enum flow_end {
	END_CLOSED,
	END_RESET_BY_PEER,
	END_RESET_HERE,
	END_TIMEOUT,
	END_OTHER,
	END_NOT_REFUSED,
	END_NOT_TIMEOUT,
	END_NOT_UNREACHABLE,
	END_NOT_GIVEN_UP,
	END_NOT_NO_PORT,
	END_NOT_OTHER,
};

#define FLOW_ENDS 11
#define FIRST_FAILURE END_NOT_REFUSED
#define FAILURES (FLOW_ENDS - FIRST_FAILURE)

SHARED_ENUM(flow_role);
SHARED_ENUM(flow_field);
SHARED_ENUM(flow_end);

/* Round-trip time buckets. Bucket i counts times of up to 64 µs * 4^i. The last bucket counts all longer times. */
#define ROUND_TRIP_BOUNDS 8

struct flow_key {
	__u64 netns; /* cookie */
	__u64 cgroup; /* ID of the socket's cgroup if this is the node's own namespace; otherwise 0 */
	__u8 peer[16]; /* IPv4 addresses are IPv4-mapped */
	__u16 port; /* port of the server */
	__u8 role;
	__u8 spare[5];
};

struct flow_row {
	__u64 closed[FLOW_FIELDS]; /* of closed sockets */
	__u64 ends[FLOW_ENDS];
	__u64 now[FLOW_FIELDS]; /* of all sockets, as of the last walk that found an open socket */
	__u64 round_trip_sum; /* microseconds */
	__u32 round_trips[ROUND_TRIP_BOUNDS + 1];
	__u32 walk; /* number of the walk that set `now` and `live` */
	__u32 live; /* number of open sockets */
	__u32 evicted; /* accepts no more counts; user space deletes the row after the next walk */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} flow_rows SEC(".maps");

/* Sums of the sockets without a row. Index: slot * FLOW_ROLES + role. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS *FLOW_ROLES);
	__type(key, __u32);
	__type(value, struct flow_row);
} flow_rest SEC(".maps");

/*
 * Nonzero if anything was ever added to flow_rest. User space does not read flow_rest before that because the map takes
 * a megabyte.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} flow_rest_used SEC(".maps");

/* Number of rows that were allocated, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} flow_taken SEC(".maps");

/*
 * Number of rows that each slot may have allocated in total: its limit plus the rows that it has freed. Written by user
 * space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} flow_allowed SEC(".maps");

/* The node's own namespace, in which each cgroup has its own rows. */
const volatile __u64 node_netns = 0;

/*
 * Returns the role of a connection. An accepted socket inherits the backlog of its listening socket, whereas a client's
 * backlog is 0. If the listening socket's backlog is also 0, the ingress interface of the SYN tells them apart:
 * the kernel stores it only in accepted sockets, and no process can change it on a TCP socket (kernel:
 * net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock(); net/ipv6/tcp_ipv6.c, tcp_v6_syn_recv_sock()).
 */
static __always_inline __u8 flow_role_of(__u32 backlog, int interface, int interface6)
{
	return backlog || interface || interface6 ? ROLE_SERVER : ROLE_CLIENT;
}

/* Returns the ID of a socket's cgroup in the v2 hierarchy; 0 if the socket has none. */
static __always_inline __u64 flow_cgroup(const struct sock *sk)
{
	struct cgroup *cgroup;

	if (!bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return 0;
	cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : 0;
}

/* Returns the owner's sums for sockets without a row. */
static __always_inline struct flow_row *flow_rest_of(__u64 netns, const struct net *net, __u8 role)
{
	__u32 index = owner_slot_of(netns, net) * FLOW_ROLES + role, zero = 0;
	__u64 *used = bpf_map_lookup_elem(&flow_rest_used, &zero);

	if (used && !*used)
		*used = 1;
	return bpf_map_lookup_elem(&flow_rest, &index);
}

static __always_inline struct flow_row *flow_make_row(const struct flow_key *key, const struct net *net)
{
	static const struct flow_row fresh;
	__u32 slot = owner_slot_of(key->netns, net);
	__u32 *taken = bpf_map_lookup_elem(&flow_taken, &slot), *allowed = bpf_map_lookup_elem(&flow_allowed, &slot);

	if (!taken || !allowed || (__s32)(*taken - *allowed) >= 0)
		return NULL;
	__sync_fetch_and_add(taken, 1);
	/* Another CPU has created the row, or there is not enough memory. */
	if (bpf_map_update_elem(&flow_rows, key, &fresh, BPF_NOEXIST))
		__sync_fetch_and_add(taken, -1);
	return bpf_map_lookup_elem(&flow_rows, key);
}

/*
 * Returns the row of a key, or the owner's sums for sockets without a row. A row marked as evicted accepts no more
 * counts because a program may still hold its address when it is deleted.
 */
static __always_inline struct flow_row *flow_row_of(const struct flow_key *key, const struct net *net)
{
	struct flow_row *row = bpf_map_lookup_elem(&flow_rows, key);

	if (!row)
		row = flow_make_row(key, net);
	return row && !row->evicted ? row : flow_rest_of(key->netns, net, key->role);
}

static __always_inline void flow_add_round_trip(struct flow_row *row, __u32 microseconds)
{
	__u32 bucket = 0;

	/* Without branches, each of which the verifier would follow. */
	for (__u32 bound = 0; bound < ROUND_TRIP_BOUNDS; bound++)
		bucket += ((64ULL << (2 * bound)) - microseconds) >> 63;
	barrier_var(bucket);
	if (bucket > ROUND_TRIP_BOUNDS)
		return;
	__sync_fetch_and_add(&row->round_trips[bucket], 1);
	__sync_fetch_and_add(&row->round_trip_sum, microseconds);
}
