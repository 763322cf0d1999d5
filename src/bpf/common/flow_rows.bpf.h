// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "flow_log.bpf.h"
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
 * Rows of TCP traffic by namespace, role, peer and port. The hooks add a socket's counts when it is closed, and the
 * walk adds the current counts of open sockets (ADR 37). These maps are shared by the object with the hooks and the
 * object with the walk.
 */
enum flow_role {
	ROLE_CLIENT,
	ROLE_SERVER,
	ROLE_LISTENER, /* rows of listening sockets; FIELD_CONNECTIONS contains the number of dropped connections */
};

#define FLOW_ROLES 3

enum flow_field {
	FIELD_CONNECTIONS, /* number of established connections */
	FIELD_SENT_BYTES, /* payload */
	FIELD_RECEIVED_BYTES,
	FIELD_SENT_SEGMENTS,
	FIELD_RECEIVED_SEGMENTS,
	FIELD_RETRANSMITTED_SEGMENTS,
	FIELD_RETRANSMITTED_BYTES,
	FIELD_OUT_OF_ORDER_SEGMENTS,
	FIELD_BUSY, /* jiffies, like the next two fields; the three times do not overlap */
	FIELD_RECEIVER_LIMITED,
	FIELD_SEND_BUFFER_LIMITED,
};

#define FLOW_FIELDS 11
#define FIRST_RARE FIELD_RETRANSMITTED_SEGMENTS /* first of the fields that are zero for most connections */

/* How established connections ended, followed by the reasons why connections could not be established (END_NOT_…). */
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

/*
 * Number of bounded round-trip time buckets. Bucket i counts times of up to 64 µs * 4^i. One more bucket counts all
 * longer times.
 */
#define ROUND_TRIP_BOUNDS 8

struct flow_row {
	__u64 closed[FLOW_FIELDS]; /* totals of closed sockets */
	__u64 ends[FLOW_ENDS];
	__u64 now[FLOW_FIELDS]; /* totals of all sockets, as of the last walk that found an open socket */
	__u64 round_trip_sum; /* microseconds */
	__u32 round_trips[ROUND_TRIP_BOUNDS + 1];
	__u32 walk; /* number of the walk that set `now` and `live` */
	__u32 live; /* number of open sockets */
	__u32 evicted; /* nonzero if the row must not be updated; user space deletes it after the next walk */
	__u32 watched; /* whether its connections are logged */
	__u32 unlogged; /* number of connections for which the log had no room */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_row);
} flow_rows SEC(".maps");

/* Overflow rows for sockets that have no row of their own. Index: slot * FLOW_ROLES + role. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS *FLOW_ROLES);
	__type(key, __u32);
	__type(value, struct flow_row);
} flow_rest SEC(".maps");

/* Nonzero once anything has been added to flow_rest. Until then, user space does not read flow_rest, which is 1 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} flow_rest_used SEC(".maps");

/* Number of rows that have been allocated, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} flow_taken SEC(".maps");

/*
 * Number of allocations that each slot is allowed in total: its limit plus the number of rows it has freed. Written by
 * user space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} flow_allowed SEC(".maps");

/* Entries of an owner in flow_log since the last read, by slot. */
struct flow_log_share {
	__u64 tail; /* value of flow_log_tail to which `taken` belongs */
	__u64 taken;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct flow_log_share);
} flow_log_shares SEC(".maps");

/* The node's own namespace, in which each cgroup has its own rows. */
const volatile __u64 node_netns = 0;

/*
 * Returns the role of a connection. An accepted socket inherits the backlog of its listening socket, whereas a client's
 * backlog is 0. If the listening socket's backlog is also 0, the ingress interface of the SYN distinguishes the two:
 * the kernel stores the interface only in accepted sockets, and no process can change it on a TCP socket (kernel:
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

/* Returns the owner's overflow row. */
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
	/* Fails if another CPU has created the row in the meantime or if memory is short. */
	if (bpf_map_update_elem(&flow_rows, key, &fresh, BPF_NOEXIST))
		__sync_fetch_and_add(taken, -1);
	return bpf_map_lookup_elem(&flow_rows, key);
}

/*
 * Returns the row for a key, or the owner's overflow row. An evicted row is not used because user space is about to
 * delete it.
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

	/* Computed without branches because the verifier would explore each branch separately. */
	for (__u32 bound = 0; bound < ROUND_TRIP_BOUNDS; bound++)
		bucket += ((64ULL << (2 * bound)) - microseconds) >> 63;
	barrier_var(bucket);
	if (bucket > ROUND_TRIP_BOUNDS)
		return;
	__sync_fetch_and_add(&row->round_trips[bucket], 1);
	__sync_fetch_and_add(&row->round_trip_sum, microseconds);
}

/* The local end of a connection, and the port of the other end. IPv4 addresses are IPv4-mapped. */
struct flow_ends {
	__u8 local[16];
	__u16 local_port, peer_port;
};

/* Returns a new entry of the log; NULL if the owner has used up its share, or if the log is full. */
static __always_inline struct flow_connection *flow_log_entry(__u32 slot, __u64 *index)
{
	struct flow_log_share *share = bpf_map_lookup_elem(&flow_log_shares, &slot);
	__u32 zero = 0, place;
	__u64 *head = bpf_map_lookup_elem(&flow_log_head, &zero), *tail = bpf_map_lookup_elem(&flow_log_tail, &zero);
	__u64 read;

	if (!share || !head || !tail)
		return NULL;
	read = *tail;
	if (share->tail != read) {
		share->tail = read;
		share->taken = 0;
	}
	if (share->taken >= FLOW_LOG_SHARE)
		return NULL;
	__sync_fetch_and_add(&share->taken, 1);
	*index = __sync_fetch_and_add(head, 1);
	if (*index - read >= FLOW_LOG_ENTRIES)
		return NULL;
	place = *index % FLOW_LOG_ENTRIES;
	return bpf_map_lookup_elem(&flow_log, &place);
}

/*
 * Logs a connection of a watched row. Must be called before its counts are added to the row, so that user space finds
 * an entry for all counts that it reads.
 */
static __always_inline void flow_log_connection(struct flow_row *row, const struct flow_key *key, const struct net *net,
						const struct flow_ends *ends, bool is_closed)
{
	__u64 index = 0, before;
	struct flow_connection *entry = flow_log_entry(owner_slot_of(key->netns, net), &index);

	if (!entry) {
		__sync_fetch_and_add(&row->unlogged, 1);
		return;
	}
	entry->key = *key;
	__builtin_memcpy(entry->local, ends->local, sizeof(entry->local));
	entry->local_port = ends->local_port;
	entry->peer_port = ends->peer_port;
	entry->closed = is_closed;
	entry->found = FLOW_FOUND_NOT_ASKED;
	/* A full barrier, because the result is used. */
	before = __sync_lock_test_and_set(&entry->number, index + 1);
	barrier_var(before);
}
