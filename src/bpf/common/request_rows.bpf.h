// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "l7.bpf.h"
#include "misses.bpf.h"
#include "room.bpf.h"
#include "share.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Rows of requests by edge: namespace, role, peer and port, as in struct flow_key, and protocol. The maps belong to the
 * base, and parsers of all protocols count in them with request_count(). A request is counted when it ends, however it
 * ends, so the sum of a Pod's rows is the number of its requests that have ended.
 */
enum request_role {
	REQUEST_CLIENT, /* sends the requests */
	REQUEST_SERVER,
};

enum request_outcome {
	REQUEST_OK,
	REQUEST_DECLINED, /* answered, but not with what was asked for: a status from 400 to 499, or NXDOMAIN */
	REQUEST_FAILED, /* answered with an error of the server, or not at all */
	REQUEST_UNREAD, /* the answer was not seen, or could not be assigned to the request */
};

#define REQUEST_OUTCOMES 4

/*
 * Number of bounded buckets for durations. Bucket i counts durations of up to 256 µs * 4^i. One more bucket counts all
 * longer durations.
 */
#define REQUEST_BOUNDS 8

SHARED_ENUM(request_role);
SHARED_ENUM(request_outcome);

struct request_key {
	__u64 netns; /* cookie */
	__u64 cgroup; /* cgroup ID of the socket in the node's own namespace; 0 in other namespaces */
	__u8 peer[16]; /* IPv4 addresses are IPv4-mapped */
	__u16 port; /* server's port */
	__u8 role; /* enum request_role */
	__u8 protocol; /* enum l7_protocol */
	__u8 spare[4];
};

struct request_row {
	__u64 requests[REQUEST_OUTCOMES];
	__u64 sum; /* nanoseconds */
	__u64 durations[REQUEST_BOUNDS + 1]; /* of the requests that were answered */
	__u64 leaving; /* nonzero if the row must not be updated because user space is about to delete it */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct request_key);
	__type(value, struct request_row);
} request_rows SEC(".maps");

/* Number of rows that have been allocated and freed, by slot, as in room.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} request_taken SEC(".maps"), request_returned SEC(".maps");

/* Settings, which user space changes while the programs run. */
struct request_wanted {
	__u32 is_on; /* whether requests are counted by edge */
	__u32 owner_rows; /* maximum number of rows of a slot */
	__u32 unlisted_rows; /* maximum number of rows of a slot for unlisted namespaces */
	__u32 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct request_wanted);
} request_wanted SEC(".maps");

static __always_inline void request_peer_ipv4(struct request_key *key, __be32 address)
{
	key->peer[10] = key->peer[11] = 0xff;
	__builtin_memcpy(key->peer + 12, &address, sizeof(address));
}

/*
 * Fills a zeroed key for the requests of a TCP connection. Not inlined, because the stacks of nested calls are limited
 * to 512 bytes in total, at least up to 6.1.
 * @param role enum request_role
 */
static __noinline __attribute__((unused)) void request_key_of(struct request_key *key,
							      const struct l7_connection *connection,
							      struct bpf_sock *sk, __u8 role, __u8 protocol)
{
	key->netns = connection->netns;
	key->cgroup = connection->cgroup;
	key->role = role;
	key->protocol = protocol;
	key->port = role == REQUEST_SERVER ? sk->src_port : bpf_ntohs(sk->dst_port);
	if (sk->family == 2) {
		request_peer_ipv4(key, sk->dst_ip4);
		return;
	}
	((__u32 *)key->peer)[0] = sk->dst_ip6[0];
	((__u32 *)key->peer)[1] = sk->dst_ip6[1];
	((__u32 *)key->peer)[2] = sk->dst_ip6[2];
	((__u32 *)key->peer)[3] = sk->dst_ip6[3];
}

static __always_inline struct request_row *request_make_row(const struct request_key *key, __u32 slot,
							    const struct request_wanted *wanted)
{
	static const struct request_row zero = {};
	__u32 *taken = bpf_map_lookup_elem(&request_taken, &slot);
	__u32 *returned = bpf_map_lookup_elem(&request_returned, &slot);

	if (!taken || !returned ||
	    (__s32)(*taken - *returned) >= (__s32)(slot < SLOT_FIRST ? wanted->unlisted_rows : wanted->owner_rows))
		return NULL;
	__sync_fetch_and_add(taken, 1);
	/* Fails if another CPU has created the row in the meantime or if memory is short. */
	if (bpf_map_update_elem(&request_rows, key, &zero, BPF_NOEXIST))
		__sync_fetch_and_add(taken, -1);
	return bpf_map_lookup_elem(&request_rows, key);
}

/* Returns the row in which a slot's requests without a row of their own are counted, by role and protocol. */
static __always_inline struct request_row *request_rest_of(struct request_key *key, __u32 slot)
{
	static const struct request_row zero = {};
	struct request_row *row;

	count_miss(added_up);
	key->netns = REST_OF(slot);
	key->cgroup = 0;
	key->port = 0;
	__builtin_memset(key->peer, 0, sizeof(key->peer));
	row = bpf_map_lookup_elem(&request_rows, key);
	if (row)
		return row;
	bpf_map_update_elem(&request_rows, key, &zero, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&request_rows, key);
	if (!row)
		count_miss(map_full);
	return row;
}

static __always_inline struct request_row *request_row_of(struct request_key *key, __u32 unlisted,
							  const struct request_wanted *wanted)
{
	struct request_row *row = bpf_map_lookup_elem(&request_rows, key);
	__u32 slot;

	if (row && !row->leaving)
		return row;
	if (!owner_listed(key->netns, &slot))
		slot = unlisted;
	if (!row)
		row = request_make_row(key, slot, wanted);
	return row && !row->leaving ? row : request_rest_of(key, slot);
}

/* Returns whether requests are counted by edge, so that callers need no call otherwise. */
static __always_inline bool request_is_on(void)
{
	__u32 zero = 0;
	const struct request_wanted *wanted = bpf_map_lookup_elem(&request_wanted, &zero);

	return wanted && wanted->is_on;
}

/*
 * Counts requests that ended.
 *
 * @param edge not changed
 * @param unlisted slot to use if the namespace is not listed
 * @param outcome enum request_outcome
 * @param duration nanoseconds to the answer; 0 if there is none, or if it is unknown
 */
static __always_inline void request_count(const struct request_key *edge, __u32 unlisted, __u32 outcome, __u32 count,
					  __u64 duration)
{
	struct request_key key = *edge;
	const struct request_wanted *wanted;
	struct request_row *row;
	__u32 zero = 0, bucket = 0;

	wanted = bpf_map_lookup_elem(&request_wanted, &zero);
	if (!wanted || !wanted->is_on)
		return;
	row = request_row_of(&key, unlisted, wanted);
	barrier_var(outcome);
	if (!row || outcome >= REQUEST_OUTCOMES)
		return;
	__sync_fetch_and_add(&row->requests[outcome], count);
	if (!duration)
		return;
	/* Computed without branches because the verifier would explore each branch separately. */
	for (__u32 bound = 0; bound < REQUEST_BOUNDS; bound++)
		bucket += ((256000ULL << (2 * bound)) - duration) >> 63;
	barrier_var(bucket);
	if (bucket > REQUEST_BOUNDS)
		return;
	__sync_fetch_and_add(&row->durations[bucket], 1);
	__sync_fetch_and_add(&row->sum, duration);
}
