// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Queries that wait for their answers, and names that do not exist. */
#include "common/l7.bpf.h"
#include "common/place_rows.bpf.h"
#include "common/request_rows.bpf.h"
#include "common/shared.bpf.h"
#include "dns_message.bpf.h"
#include "dns_rows.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Bytes of a name that are kept for events. */
#define DNS_NAME 128

struct dns_key {
	__u64 socket; /* cookie */
	__u8 peer[16]; /* address as in the header: 4 or 16 bytes */
	__be16 port; /* peer's */
	__u16 id;
	__u8 is_tcp, is_ipv6;
	__u8 padding[2];
};

struct dns_waiting {
	__u64 start; /* bpf_ktime_get_ns() */
	__u64 netns, cgroup; /* as in struct place_key */
	__u64 hash; /* of the name */
	__u32 copies; /* number of equal queries */
	__u16 type; /* number of the protocol */
	__u16 name_bytes; /* length of the name; only the first DNS_NAME bytes are stored */
	__u8 role, unlisted;
	__u8 padding[2];
	__u32 slot;
	__u8 name[DNS_NAME]; /* as in the message */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct dns_key);
	__type(value, struct dns_waiting);
} dns_waiting SEC(".maps");

/*
 * Queries that find no room in the map above. User space makes it large and lets its entries be allocated on demand.
 * That takes several times as long, because an entry is often freed by another CPU than the one that allocated it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct dns_key);
	__type(value, struct dns_waiting);
} dns_waiting_more SEC(".maps");

/* Number of entries in dns_waiting_more, so that other queries need no look-up in it. */
volatile __u32 waiting_more = 0;

/* Number of waiting queries by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} dns_waiting_taken SEC(".maps");

/* Names of clients' queries that were answered with NXDOMAIN. User space reads and deletes them every second. */
struct dns_missing_key {
	__u64 netns, cgroup; /* as in struct place_key */
	__u64 hash; /* of the name */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct dns_missing_key);
	__type(value, struct dns_waiting); /* `copies` is the number of answers */
} dns_missing SEC(".maps");

/* Number of these names by slot. User space sets it to 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} dns_missing_taken SEC(".maps");

/* Maximum number of names of an owner between two reads. */
#define MISSING_MAX 64

/* Maximum number of waiting queries of an owner. */
const volatile __u32 waiting_max = 1024;
const volatile bool notes_missing = false; /* whether events need the names */

/* A message, and the socket that sends or receives it. */
struct dns_context {
	struct dns_source source;
	__u32 length; /* available bytes of the message */
	enum dns_place_of_bytes where;
	struct bpf_sock *sk;
	const struct l7_connection *connection; /* NULL for UDP */
	struct dns_key key;
	bool is_egress; /* the packet is sent */
	bool is_sent; /* the message is sent */
	bool to_server; /* the destination port is that of DNS */
	bool from_server; /* the source port is that of DNS */
};

struct dns_place {
	struct place_key key;
	__u32 unlisted; /* slot to use if the namespace is not listed */
	__u32 slot;
};

/*
 * Counts queries that ended by their edge.
 * @param unlisted slot to use if the namespace is not listed
 */
static __always_inline void dns_count_edge(const struct dns_key *query, const struct place_key *place, __u32 unlisted,
					   __u32 outcome, __u32 count, __u64 duration)
{
	struct request_key edge = {
		.netns = place->netns,
		.cgroup = place->cgroup,
		.port = DNS_PORT,
		.role = place->detail,
		.protocol = query->is_tcp ? L7_DNS : L7_DATAGRAM_DNS,
	};

	if (query->is_ipv6) {
		__builtin_memcpy(edge.peer, query->peer, sizeof(edge.peer));
	} else {
		edge.peer[10] = edge.peer[11] = 0xff;
		__builtin_memcpy(edge.peer + 12, query->peer, 4);
	}
	request_count(&edge, unlisted, outcome, count, duration);
}

static __always_inline bool take_waiting(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&dns_waiting_taken, &slot);

	if (!taken || *taken >= waiting_max)
		return false;
	__sync_fetch_and_add(taken, 1);
	return true;
}

static __always_inline void give_back_waiting(__u32 slot)
{
	__u32 *taken = bpf_map_lookup_elem(&dns_waiting_taken, &slot);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}

/* @param key struct dns_key */
static __always_inline struct dns_waiting *waiting_of(const void *key)
{
	struct dns_waiting *waiting = bpf_map_lookup_elem(&dns_waiting, key);

	return waiting || !waiting_more ? waiting : bpf_map_lookup_elem(&dns_waiting_more, key);
}

/* Creates an entry of zeros; returns NULL if there is one, or no room. */
static __always_inline struct dns_waiting *make_waiting(const struct dns_key *key)
{
	static const struct dns_waiting zero = {};

	if (waiting_more && bpf_map_lookup_elem(&dns_waiting_more, key))
		return NULL;
	if (!bpf_map_update_elem(&dns_waiting, key, &zero, BPF_NOEXIST))
		return bpf_map_lookup_elem(&dns_waiting, key);
	if (bpf_map_lookup_elem(&dns_waiting, key))
		return NULL;
	/* Counted first, so that the answer is looked up in this map. */
	__sync_fetch_and_add(&waiting_more, 1);
	if (bpf_map_update_elem(&dns_waiting_more, key, &zero, BPF_NOEXIST)) {
		__sync_fetch_and_add(&waiting_more, -1);
		return NULL;
	}
	return bpf_map_lookup_elem(&dns_waiting_more, key);
}

/* Returns false if another CPU has deleted the entry. @param key struct dns_key */
static __always_inline bool delete_waiting(const void *key)
{
	if (!bpf_map_delete_elem(&dns_waiting, key))
		return true;
	if (!waiting_more || bpf_map_delete_elem(&dns_waiting_more, key))
		return false;
	__sync_fetch_and_add(&waiting_more, -1);
	return true;
}

/* Adds a copy to a waiting query. Returns false if another query with the same ID is waiting. */
static __always_inline bool wait_again(const struct dns_context *context, const struct dns_message *message)
{
	struct dns_waiting *waiting = waiting_of(&context->key);

	if (!waiting || waiting->hash != message->hash || !waiting->copies)
		return false;
	__sync_fetch_and_add(&waiting->copies, 1);
	return true;
}

/* Makes a query wait for its answer. Returns false if it cannot. */
static __always_inline bool wait_for_answer(const struct dns_context *context, const struct dns_message *message,
					    const struct dns_place *place)
{
	struct dns_waiting *waiting;

	if (!take_waiting(place->slot))
		return false;
	/* Filled in place, because it would take too much of the stack. No answer can come yet. */
	waiting = make_waiting(&context->key);
	if (!waiting) {
		give_back_waiting(place->slot);
		return wait_again(context, message);
	}
	waiting->netns = place->key.netns;
	waiting->cgroup = place->key.cgroup;
	waiting->hash = message->hash;
	waiting->type = message->type;
	waiting->name_bytes = message->name_bytes;
	waiting->role = place->key.detail;
	waiting->unlisted = place->unlisted;
	waiting->slot = place->slot;
	dns_read(&context->source, DNS_HEADER, waiting->name,
		 message->name_bytes < DNS_NAME ? message->name_bytes : DNS_NAME, DNS_NAME);
	waiting->start = bpf_ktime_get_ns();
	waiting->copies = 1;
	return true;
}

static __always_inline void note_missing(const struct dns_waiting *query)
{
	struct dns_missing_key key = {.netns = query->netns, .cgroup = query->cgroup, .hash = query->hash};
	struct dns_waiting *missing = bpf_map_lookup_elem(&dns_missing, &key);
	__u32 slot = query->slot, *taken;

	if (missing) {
		__sync_fetch_and_add(&missing->copies, 1);
		return;
	}
	taken = bpf_map_lookup_elem(&dns_missing_taken, &slot);
	if (!taken || *taken >= MISSING_MAX)
		return;
	if (!bpf_map_update_elem(&dns_missing, &key, query, BPF_NOEXIST))
		__sync_fetch_and_add(taken, 1);
}

/* How a query ends that user space gives up. */
enum dns_end { END_UNANSWERED, END_STOPPED };

SHARED_ENUM(dns_end);

/*
 * Gives up a waiting query. Arguments: its key in words, the latest time at which it was sent, and how it ends.
 * @return whether it was given up
 */
SEC("raw_tp/sys_enter")
int dns_give_up(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 words[] = {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3]};
	struct dns_waiting *waiting = waiting_of(words);
	struct place_key key = {};
	struct dns_row *row;
	__u32 slot, copies, unlisted;

	/* Without copies, another CPU has not filled it in yet, or is about to delete it. */
	if (!waiting || !waiting->copies || waiting->start > ctx->args[4])
		return 0;
	key.netns = waiting->netns;
	key.cgroup = waiting->cgroup;
	key.detail = waiting->role;
	slot = waiting->slot;
	copies = waiting->copies;
	unlisted = waiting->unlisted;
	row = dns_row_of(&key, unlisted);
	waiting->copies = 0;
	if (!delete_waiting(words))
		return 0;
	give_back_waiting(slot);
	if (row && ctx->args[5] == END_STOPPED)
		__sync_fetch_and_add(&row->unknown[UNKNOWN_STOPPED], copies);
	else if (row)
		__sync_fetch_and_add(&row->unanswered, copies);
	dns_count_edge((const struct dns_key *)words, &key, unlisted,
		       ctx->args[5] == END_STOPPED ? REQUEST_UNREAD : REQUEST_FAILED, copies, 0);
	return 1;
}
