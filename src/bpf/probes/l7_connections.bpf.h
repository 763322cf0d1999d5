// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* States and counts of connections: creates a state for each, and determines its protocol. */
#include "common/l7.bpf.h"
#include "common/netns.bpf.h"
#include "common/place_rows.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket_place.bpf.h"
#include "l7_header.bpf.h"
#include "l7_order.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Settings, which user space changes while the programs run. */
struct l7_wanted {
	__u32 protocols; /* bits of enum l7_protocol that have a parser */
	__u32 padding;
	__u64 connections; /* maximum number of connections with a state */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_wanted);
} l7_wanted SEC(".maps");

/* Number of connections that have a state. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} l7_live SEC(".maps");

/* The same, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} l7_live_taken SEC(".maps");

enum l7_count {
	COUNT_LATE, /* connections that are older than the programs */
	COUNT_REFUSED, /* segments of connections that got no state */
	COUNT_GAPS, /* segments before which bytes are missing */
	COUNT_KEPT, /* segments that waited for earlier bytes */
	COUNT_NOT_KEPT, /* segments for which there was no room, or not for all of their bytes */
	COUNT_EARLY, /* segments that arrived before their socket existed */
};

SHARED_ENUM(l7_count);

#define COUNTS 6

struct l7_row {
	__u64 connections[L7_PROTOCOLS]; /* by protocol */
	__u64 counts[COUNTS];
};

PLACE_ROWS(l7_row);

/* The node's own namespace, in which each cgroup has its own rows. */
const volatile __u64 node_netns = 0;

/* Number of segments with data after which a connection whose protocol is still unknown is given up. */
#define TRIES 6
#define LATE_TRIES 60 /* those of a connection that is older than the programs need not begin with a message */

/*
 * Adds to a field of a row. A global function, so that the verifier checks it once instead of on each path; its
 * arguments are numbers because Linux 5.10 allows no pointers to other memory.
 */
__noinline int l7_count_field(__u64 netns, __u64 cgroup, __u32 unlisted, __u32 field)
{
	struct place_key key = {.netns = netns, .cgroup = cgroup};
	struct l7_row *row = l7_row_of(&key, unlisted);

	if (row && field < L7_PROTOCOLS + COUNTS)
		__sync_fetch_and_add((__u64 *)row + field, 1);
	return 0;
}

static __always_inline void count_connection(const struct l7_connection *connection, __u32 field)
{
	l7_count_field(connection->netns, connection->cgroup, connection->unlisted, field);
}

static __always_inline void count(const struct l7_connection *connection, enum l7_count which)
{
	count_connection(connection, L7_PROTOCOLS + which);
}

static __always_inline void read_place(struct l7_connection *connection, const struct bpf_sock *sk)
{
	const struct net *net = net_of(sk, READS_COPIED);

	connection->netns = netns_read_id(net);
	connection->unlisted = unlisted_slot(net);
	if (connection->netns == node_netns)
		connection->cgroup = cgroup_of(sk, READS_COPIED);
}

/* Returns whether the socket had exchanged data before this packet. */
static __always_inline bool is_late(struct bpf_sock *sk)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);

	/* The SYN counts as one acknowledged byte. */
	return tcp && (tcp->bytes_acked > 1 || tcp->bytes_received);
}

static __always_inline void change_live(__u32 owner, __s32 connections)
{
	__u32 zero = 0, *taken = bpf_map_lookup_elem(&l7_live_taken, &owner);
	__u64 *live = bpf_map_lookup_elem(&l7_live, &zero);

	if (!live || !taken)
		return;
	__sync_fetch_and_add(live, (__u64)(__s64)connections);
	__sync_fetch_and_add(taken, connections);
}

/*
 * Charges a connection to an owner, which gets no more once it has twice as many as are free. So one owner can use two
 * thirds of the maximum, two owners can use four fifths, and the next owner always gets some.
 */
static __always_inline bool take_live(const struct l7_wanted *wanted, __u32 owner)
{
	__u32 zero = 0, *taken = bpf_map_lookup_elem(&l7_live_taken, &owner);
	__u64 *live = bpf_map_lookup_elem(&l7_live, &zero);

	if (!live || !taken || *live >= wanted->connections || *taken / 2 >= wanted->connections - *live)
		return false;
	change_live(owner, 1);
	return true;
}

static __always_inline struct l7_connection *new_connection(const struct l7_wanted *wanted, struct bpf_sock *sk)
{
	struct l7_connection *connection = NULL, place = {};

	read_place(&place, sk);
	place.owner = place_slot(place.netns, place.unlisted);
	if (take_live(wanted, place.owner)) {
		connection = bpf_sk_storage_get(&l7_connections, sk, &place, BPF_SK_STORAGE_GET_F_CREATE);
		if (!connection)
			change_live(place.owner, -1);
	}
	if (!connection)
		count(&place, COUNT_REFUSED);
	return connection;
}

static __always_inline void set_protocol(struct l7_connection *connection, __u8 protocol)
{
	connection->protocol = protocol;
	count_connection(connection, protocol);
}

/* Determines the protocol of a connection from a segment that may be its first. */
static __always_inline void classify(struct l7_connection *connection, const struct l7_first *first, bool is_dns)
{
	__u8 protocol = is_dns ? L7_DNS : l7_protocol_of(first->words[0], first->words[1], first->length);
	bool is_late = connection->marks & L7_LATE;

	/* Later segments of another protocol are more likely to look like that. */
	if (!protocol && !connection->tries && first->length >= sizeof(first->words) &&
	    l7_may_be_request(first->words[0], first->words[1]))
		protocol = L7_HTTP1;
	if (!protocol && is_late && first->length >= sizeof(first->words)) {
		int late = l7_late_http2(first->words[0], first->words[1], first->length);

		if (late == LATE_REQUEST)
			connection->marks |= L7_REQUEST;
		if (late != LATE_NOTHING)
			protocol = L7_HTTP2;
	}
	if (protocol)
		set_protocol(connection, protocol);
	else if (++connection->tries >= (is_late ? LATE_TRIES : TRIES))
		set_protocol(connection, L7_OTHER);
}
