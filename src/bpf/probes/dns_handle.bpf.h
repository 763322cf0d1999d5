// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Handles a DNS message of any transport: finds its place, and counts it. */
#include "common/l7.bpf.h"
#include "common/netns.bpf.h"
#include "common/pod_filter.bpf.h"
#include "common/socket_place.bpf.h"
#include "dns_addresses.bpf.h"
#include "dns_message.bpf.h"
#include "dns_rows.bpf.h"
#include "dns_waiting.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

const volatile bool reads_typed = false; /* whether the kernel has bpf_rdonly_cast() (6.2) */
/* The node's own namespace, in which each cgroup has its own rows. */
const volatile __u64 node_netns = 0;

static __always_inline void read_socket_place(const struct bpf_sock *sk, struct dns_place *place,
					      enum socket_reads reads)
{
	const struct net *net = net_of(sk, reads);

	place->key.netns = reads == READS_TYPED ? netns_id(net) : netns_read_id(net);
	if (place->key.netns == node_netns)
		place->key.cgroup = cgroup_of(sk, reads);
	if (!owner_listed(place->key.netns, &place->slot))
		place->slot = place->unlisted = unlisted_slot(net);
}

/* Returns false if the Pod filter excludes the namespace, or if it cannot be read. */
static __always_inline bool read_place(const struct dns_context *context, __u8 role, struct dns_place *place)
{
	const struct l7_connection *connection = context->connection;

	place->key.detail = role;
	if (connection) {
		place->key.netns = connection->netns;
		place->key.cgroup = connection->cgroup;
		place->unlisted = connection->unlisted;
		place->slot = place_slot(connection->netns, connection->unlisted);
	} else if (reads_typed) {
		read_socket_place(context->sk, place, READS_TYPED);
	} else {
		read_socket_place(context->sk, place, READS_COPIED);
	}
	if (!place->key.netns) {
		count_miss(no_netns);
		return false;
	}
	return passes_pod_filter(place->key.netns);
}

static __always_inline void count_at(const struct dns_place *place, __u32 word)
{
	dns_count(place->key.netns, place->key.cgroup, place->key.detail, place->unlisted, word);
}

static __always_inline void count_unknown(const struct dns_context *context, enum dns_unknown cause)
{
	__u8 role = context->is_sent == context->to_server ? ROLE_CLIENT : ROLE_SERVER;
	struct dns_place place = {};

	if (read_place(context, role, &place))
		count_at(&place, WORD_OF(unknown) + cause);
}

/* Fills in the peer's address. @param is_egress whether the packet is sent */
static __always_inline bool read_peer(struct dns_key *key, const struct __sk_buff *skb, bool is_egress)
{
	const __u8 *ip = (const void *)(long)skb->data, *end = (const void *)(long)skb->data_end;

	/* The base has read the ports behind the header, so these bytes are in the linear part of the packet. */
	if (ip + IPV4_HEADER > end)
		return false;
	key->is_ipv6 = ip[0] >> 4 != 4;
	if (!key->is_ipv6) {
		__builtin_memcpy(key->peer, ip + (is_egress ? 16 : 12), 4);
		return true;
	}
	if (ip + IPV6_HEADER > end)
		return false;
	__builtin_memcpy(key->peer, ip + (is_egress ? 24 : 8), 16);
	return true;
}

#define EDGE_IS_TCP (1U << 24)
#define EDGE_IS_EGRESS (1U << 25)

/*
 * Counts a query that ended by its edge. A global function, so that the verifier checks it once, and with numbers,
 * because earlier kernels accept nothing else.
 * @param what role | slot to use if the namespace is not listed << 8 | enum request_outcome << 16 | flags above
 * @param duration nanoseconds to the answer; 0 if there is none
 */
__noinline int dns_add_edge(struct __sk_buff *skb, __u64 netns, __u64 cgroup, __u32 what, __u64 duration)
{
	struct place_key place = {.netns = netns, .cgroup = cgroup, .detail = what & 0xff};
	struct dns_key key = {.is_tcp = !!(what & EDGE_IS_TCP)};

	if (read_peer(&key, skb, what & EDGE_IS_EGRESS))
		dns_count_edge(&key, &place, what >> 8 & 0xff, what >> 16 & 0xff, 1, duration);
	return 0;
}

static __always_inline void count_edge(const struct dns_context *context, const struct place_key *place, __u32 unlisted,
				       enum request_outcome outcome, __u64 duration)
{
	__u32 what = place->detail | unlisted << 8 | outcome << 16;

	if (!request_is_on())
		return;
	what |= (context->key.is_tcp ? EDGE_IS_TCP : 0) | (context->is_egress ? EDGE_IS_EGRESS : 0);
	dns_add_edge(context->source.skb, place->netns, place->cgroup, what, duration);
}

static __always_inline void handle_query(const struct dns_context *context, const struct dns_message *message)
{
	struct dns_place place = {};

	if (!read_place(context, context->is_sent ? ROLE_CLIENT : ROLE_SERVER, &place))
		return;
	count_at(&place, WORD_OF(queries) + type_of(message->type));
	if (wait_for_answer(context, message, &place))
		return;
	count_at(&place, WORD_OF(unknown) + UNKNOWN_UNTRACKED);
	count_edge(context, &place.key, place.unlisted, REQUEST_UNREAD, 0);
}

/* A name that does not exist is not an error of the server: search lists ask for many such names. */
static __always_inline __u32 outcome_of(__u32 rcode)
{
	if (rcode == RCODE_NOERROR)
		return REQUEST_OK;
	return rcode == RCODE_NXDOMAIN ? REQUEST_DECLINED : REQUEST_FAILED;
}

/* Returns the cause if the answer is to no waiting query; otherwise UNKNOWNS. */
static __always_inline __u32 handle_answer(const struct dns_context *context, const struct dns_message *message)
{
	struct dns_waiting *waiting = waiting_of(&context->key);
	struct place_key place = {};
	__u64 now, duration;

	if (!waiting || !waiting->copies)
		return UNKNOWN_UNASKED;
	/* An answer without its question is matched by its ID alone. */
	if (message->questions && waiting->hash != message->hash)
		return UNKNOWN_MISMATCHED;
	now = bpf_ktime_get_ns();
	duration = now - waiting->start;
	dns_count_answer(waiting->netns, waiting->cgroup,
			 message->flags | (__u32)waiting->role << 16 | (__u32)waiting->unlisted << 24, duration);
	place.netns = waiting->netns;
	place.cgroup = waiting->cgroup;
	place.detail = waiting->role;
	count_edge(context, &place, waiting->unlisted, outcome_of(message->flags & DNS_RCODE), duration ? duration : 1);
	if (notes_missing && waiting->role == ROLE_CLIENT && (message->flags & DNS_RCODE) == RCODE_NXDOMAIN)
		note_missing(waiting);
	tell_addresses(context, message, waiting, now);
	__sync_fetch_and_add(&waiting->copies, -1);
	if (!waiting->copies) {
		__u32 slot = waiting->slot;

		if (delete_waiting(&context->key))
			give_back_waiting(slot);
	}
	return UNKNOWNS;
}

static __always_inline void handle_message(struct dns_context *context)
{
	struct dns_message message = {};
	__u32 unknown = UNKNOWNS;
	bool is_answer;

	if (!read_message(&context->source, context->length, context->where, &message)) {
		count_unknown(context, UNKNOWN_MALFORMED);
		return;
	}
	is_answer = message.flags & DNS_FLAG_ANSWER;
	context->key.id = message.id;
	if (is_answer ? !context->from_server : !context->to_server)
		unknown = UNKNOWN_MALFORMED;
	else if (message.flags & DNS_OPCODE)
		unknown = UNKNOWN_OPERATION;
	else if (is_answer)
		unknown = handle_answer(context, &message);
	else
		handle_query(context, &message);
	if (unknown < UNKNOWNS)
		count_unknown(context, unknown);
}

/* Fills in the socket and the peer's address. @param is_egress whether the packet is sent */
static __always_inline bool read_context(struct dns_context *context, struct __sk_buff *skb, bool is_egress)
{
	context->sk = l7_socket(skb);
	if (!context->sk || !read_peer(&context->key, skb, is_egress))
		return false;
	context->source.skb = skb;
	context->is_egress = is_egress;
	context->is_sent = is_egress;
	context->key.socket = bpf_get_socket_cookie(skb);
	return true;
}
