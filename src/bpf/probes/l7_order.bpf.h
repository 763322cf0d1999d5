// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Keeps segments that arrive before the bytes that precede them, or before their socket exists. */
#include "common/l7.bpf.h"
#include "common/place_rows.bpf.h"
#include "common/socket_place.bpf.h"
#include "common/netns.bpf.h"
#include "l7_header.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Maximum number of kept runs of a connection. Two tail calls are needed for each, and the kernel allows 33. */
#define L7_KEPT_MAX 15
#define EARLY_MAX (1 << 19) /* bytes; the kernel merges received segments up to this size */
/* Segments that follow each other within this time are kept as one run, which has one time of arrival. */
#define RUN_NANOSECONDS 10000000ULL
#define EARLY_PARTS 8 /* maximum number of parts of a segment that arrived before its socket existed */
#define EARLY_PART 2048 /* bytes */

/* Kept segments of a connection. An entry is free if both ends are equal. */
struct l7_order {
	__u64 cookie;
	__u64 now; /* time of the current segment */
	__u32 done; /* bytes of the current segment that have been kept */
	__u32 owner; /* slot whose share of kept runs the connection uses */
	__u32 seqs[L7_KEPT_MAX], ends[L7_KEPT_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_order);
} l7_orders SEC(".maps");

/* A quarter of the runs of all connections, so that no owner can use them all. */
#define KEPT_SHARE 128

/* Number of kept runs, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __s32);
} l7_kept_taken SEC(".maps");

static __always_inline bool has_kept_share(__u32 owner)
{
	__s32 *taken = bpf_map_lookup_elem(&l7_kept_taken, &owner);

	return taken && *taken < KEPT_SHARE;
}

static __always_inline void change_kept(__u32 owner, __s32 runs)
{
	__s32 *taken = bpf_map_lookup_elem(&l7_kept_taken, &owner);

	if (taken)
		__sync_fetch_and_add(taken, runs);
}

struct l7_early_key {
	__u64 netns; /* cookie */
	__u8 peer[16], local[16]; /* addresses as in the header: 4 or 16 bytes */
	__be16 peer_port, local_port;
	__u32 part; /* of the segment */
};

struct l7_early {
	__u32 seq;
	__u32 length;
	__u32 ack;
	__u32 padding;
	__u64 time;
	__u8 bytes[EARLY_PART];
};

/* First data of connections that only exist as requests, by addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct l7_early_key);
	__type(value, struct l7_early);
} l7_early SEC(".maps");

/* Nonzero once any first data was kept, so that other connections need no look-up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} l7_early_seen SEC(".maps");

/* Bytes of a run that have no value yet. */
static const struct l7_segment no_bytes = {};

/* Loads the first bytes of a run. Returns their number; 0 on failure. @param length available bytes; not 0 */
static __always_inline __u32 load_first(struct __sk_buff *skb, struct l7_segment *segment, __u32 offset, __u32 length)
{
	__u64 last;

	if (length > L7_SEGMENT)
		length = L7_SEGMENT;
	last = length - 1;
	/* Masks the very register that the helper gets, because earlier verifiers lose a bound proved on a copy. */
	asm volatile("%0 &= 16383" : "+r"(last));
	return bpf_skb_load_bytes(skb, offset, segment->bytes, last + 1) ? 0 : length;
}

/* Loads further bytes of a run, if less than half of it is used. The verifier knows no closer bounds. */
static __always_inline __u32 load_more(struct __sk_buff *skb, struct l7_segment *segment, __u32 offset, __u32 length)
{
	__u64 place = segment->length, last;

	if (place >= L7_SEGMENT / 2)
		return 0;
	if (length > L7_SEGMENT / 2)
		length = L7_SEGMENT / 2;
	last = length - 1;
	asm volatile("%0 &= 8191" : "+r"(place));
	asm volatile("%0 &= 8191" : "+r"(last));
	return bpf_skb_load_bytes(skb, offset, segment->bytes + place, last + 1) ? 0 : length;
}

/* Adds the next bytes of a segment to a run that ends where they begin. */
static __always_inline void extend_run(struct __sk_buff *skb, struct l7_order *order, const struct l7_packet *packet,
				       __u32 slot)
{
	struct l7_segment_key key = {.connection = order->cookie, .seq = order->seqs[slot]};
	struct l7_segment *segment = bpf_map_lookup_elem(&l7_kept, &key);
	__u32 bytes;

	if (!segment || segment->ack != packet->ack || order->now - segment->time > RUN_NANOSECONDS)
		return;
	bytes = load_more(skb, segment, packet->offset + order->done, packet->length - order->done);
	segment->length += bytes;
	order->ends[slot] += bytes;
	order->done += bytes;
}

/* Keeps the next bytes of a segment in a free slot. Returns false if nothing more can be kept. */
static __always_inline bool start_run(struct __sk_buff *skb, struct l7_order *order, const struct l7_packet *packet,
				      __u32 slot)
{
	struct l7_segment_key key = {.connection = order->cookie, .seq = packet->seq + order->done};
	struct l7_segment *segment;
	__u32 bytes;

	/* Fails if the map is full, or if the same segment is already kept. */
	if (bpf_map_update_elem(&l7_kept, &key, &no_bytes, BPF_NOEXIST))
		return false;
	segment = bpf_map_lookup_elem(&l7_kept, &key);
	if (!segment)
		return false;
	bytes = load_first(skb, segment, packet->offset + order->done, packet->length - order->done);
	if (!bytes) {
		bpf_map_delete_elem(&l7_kept, &key);
		return false;
	}
	segment->length = bytes;
	segment->ack = packet->ack;
	segment->time = order->now;
	order->seqs[slot] = key.seq;
	order->ends[slot] = key.seq + bytes;
	order->done += bytes;
	return true;
}

/*
 * Keeps a segment. Returns the number of bytes that were kept. The progress is stored in a map, because the verifier
 * would follow each possible value of a variable.
 */
static __always_inline __u32 keep_segment(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_connection *connection,
					  const struct l7_packet *packet)
{
	struct l7_order *order = bpf_sk_storage_get(&l7_orders, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!order)
		return 0;
	if (!order->cookie)
		order->owner = place_slot(connection->netns, connection->unlisted);
	order->cookie = bpf_get_socket_cookie(skb);
	order->now = bpf_ktime_get_ns();
	order->done = 0;
	for (__u32 slot = 0; slot < L7_KEPT_MAX; slot++) {
		if (order->ends[slot] == order->seqs[slot] || order->ends[slot] != packet->seq)
			continue;
		extend_run(skb, order, packet, slot);
		break;
	}
	for (__u32 slot = 0; slot < L7_KEPT_MAX; slot++) {
		if (order->done >= packet->length || !has_kept_share(order->owner))
			break;
		if (order->ends[slot] != order->seqs[slot])
			continue;
		if (!start_run(skb, order, packet, slot))
			break;
		connection->kept++;
		change_kept(order->owner, 1);
	}
	return order->done;
}

/*
 * Passes the next kept segment on to a parser, and deletes those that no longer matter. Returns false if there is none.
 */
static __always_inline bool next_segment(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_connection *connection)
{
	struct l7_stream *stream = &connection->received;
	struct l7_order *order = bpf_sk_storage_get(&l7_orders, sk, NULL, 0);
	struct l7_segment_key key = {};

	if (!order)
		return false;
	key.connection = order->cookie;
	for (int slot = 0; slot < L7_KEPT_MAX; slot++) {
		__u32 seq = order->seqs[slot], end = order->ends[slot], next = stream->next;
		struct l7_segment *segment;
		struct l7_packet packet = {};

		if (seq == end || (__s32)(seq - next) > 0)
			continue;
		order->seqs[slot] = order->ends[slot] = 0;
		connection->kept--;
		change_kept(order->owner, -1);
		key.seq = seq;
		segment = (__s32)(end - next) > 0 ? bpf_map_lookup_elem(&l7_kept, &key) : NULL;
		if (!segment) {
			bpf_map_delete_elem(&l7_kept, &key);
			continue;
		}
		packet.offset = next - seq;
		packet.length = end - next;
		packet.seq = next;
		packet.ack = segment->ack;
		packet.marks = L7_IS_RECEIVED | L7_IS_KEPT | (connection->marks & L7_LATE);
		packet.kept_seq = seq;
		stream->next = end;
		l7_pass(skb, &packet);
		return true;
	}
	return false;
}

/* Deletes the segment that next_segment() has passed on, if no parser could be called. */
static __always_inline void drop_passed(struct __sk_buff *skb)
{
	struct l7_segment_key key = l7_key_of(skb, skb->cb[4]);

	bpf_map_delete_elem(&l7_kept, &key);
}

/* Deletes the kept segments of a connection that has ended. */
static __always_inline void drop_kept(struct sock *sk)
{
	struct l7_order *order = bpf_sk_storage_get(&l7_orders, sk, NULL, 0);
	struct l7_segment_key key = {};

	if (!order)
		return;
	key.connection = order->cookie;
	for (int slot = 0; slot < L7_KEPT_MAX; slot++) {
		if (order->seqs[slot] == order->ends[slot])
			continue;
		key.seq = order->seqs[slot];
		bpf_map_delete_elem(&l7_kept, &key);
		change_kept(order->owner, -1);
	}
	bpf_sk_storage_delete(&l7_orders, sk);
}

/* @param is_turned whether the packet goes to the peer */
static __always_inline bool early_key(struct l7_early_key *key, struct __sk_buff *skb, const struct l7_header *header,
				      bool is_turned)
{
	__u32 source = header->is_ipv6 ? 8 : 12, bytes = header->is_ipv6 ? 16 : 4;
	__u32 peer = is_turned ? source + bytes : source, local = is_turned ? source : source + bytes;

	key->peer_port = is_turned ? header->destination : header->source;
	key->local_port = is_turned ? header->source : header->destination;
	if (header->is_ipv6)
		return !bpf_skb_load_bytes(skb, peer, key->peer, 16) && !bpf_skb_load_bytes(skb, local, key->local, 16);
	return !bpf_skb_load_bytes(skb, peer, key->peer, 4) && !bpf_skb_load_bytes(skb, local, key->local, 4);
}

/* Loads up to EARLY_PART bytes. Returns the number of bytes; 0 on failure. */
static __always_inline __u32 load_early(struct __sk_buff *skb, __u32 offset, struct l7_early *early, __u32 length)
{
	__u64 last;

	if (length > EARLY_PART)
		length = EARLY_PART;
	last = length - 1;
	asm volatile("%0 &= 2047" : "+r"(last));
	return bpf_skb_load_bytes(skb, offset, early->bytes, last + 1) ? 0 : length;
}

/* Keeps data that arrives on a listening socket. The new socket takes it over. */
static __always_inline void keep_early(struct __sk_buff *skb, const struct bpf_sock *sk, const struct l7_header *header)
{
	struct l7_early_key key = {.netns = netns_read_id(net_of(sk, READS_COPIED))};
	const struct l7_packet *packet = &header->packet;
	static const struct l7_early no_data = {};
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&l7_early_seen, &zero);

	if (!seen || !early_key(&key, skb, header, false))
		return;
	*seen = 1;
	for (__u32 part = 0; part < EARLY_PARTS; part++) {
		__u32 done = part * EARLY_PART;
		struct l7_early *early;

		key.part = part;
		if (done >= packet->length || bpf_map_update_elem(&l7_early, &key, &no_data, BPF_ANY))
			return;
		early = bpf_map_lookup_elem(&l7_early, &key);
		if (!early)
			return;
		early->seq = packet->seq + done;
		early->ack = packet->ack;
		early->time = bpf_ktime_get_ns();
		early->length = load_early(skb, packet->offset + done, early, packet->length - done);
	}
}

/*
 * Makes a part of the early data a kept run. Returns false if there is no such part.
 *
 * @param next sequence number at which the part must begin; ignored for the first part
 */
static __always_inline bool adopt_part(struct l7_order *order, struct l7_early_key *key, __u32 part,
				       struct l7_first *first, __u32 *next)
{
	struct l7_segment_key kept = {.connection = order->cookie};
	struct l7_segment *segment;
	struct l7_early *early;

	key->part = part;
	early = bpf_map_lookup_elem(&l7_early, key);
	if (!early || !early->length || (part && early->seq != *next))
		return false;
	kept.seq = early->seq;
	if (bpf_map_update_elem(&l7_kept, &kept, &no_bytes, BPF_ANY))
		return false;
	segment = bpf_map_lookup_elem(&l7_kept, &kept);
	if (!segment || bpf_probe_read_kernel(segment->bytes, EARLY_PART, early->bytes))
		return false;
	segment->length = early->length;
	segment->ack = early->ack;
	segment->time = early->time;
	*next = early->seq + early->length;
	order->seqs[part] = kept.seq;
	order->ends[part] = *next;
	if (!part) {
		first->seq = early->seq;
		first->length = early->length;
		__builtin_memcpy(first->words, early->bytes, sizeof(first->words));
	}
	bpf_map_delete_elem(&l7_early, key);
	return true;
}

/*
 * Returns whether early data belongs to this connection. Data of an earlier connection with the same addresses, which
 * was never accepted, has other sequence numbers.
 */
static __always_inline bool is_of_connection(struct bpf_sock *sk, const struct l7_early *early)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);

	return early && tcp && tcp->rcv_nxt - early->seq <= EARLY_MAX;
}

/* Makes the data that arrived before the connection's socket existed its first kept segment. */
static __always_inline bool adopt_early(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_connection *connection,
					const struct l7_header *header, bool is_egress, struct l7_first *first)
{
	struct l7_early_key key = {.netns = connection->netns};
	struct l7_order *order;
	__u32 zero = 0, next = 0;
	__u64 *seen = bpf_map_lookup_elem(&l7_early_seen, &zero);

	if (!seen || !*seen || !early_key(&key, skb, header, is_egress))
		return false;
	if (!is_of_connection(sk, bpf_map_lookup_elem(&l7_early, &key)))
		return false;
	order = bpf_sk_storage_get(&l7_orders, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!order)
		return false;
	order->owner = place_slot(connection->netns, connection->unlisted);
	order->cookie = bpf_get_socket_cookie(skb);
	connection->kept = 0;
	for (__u32 part = 0; part < EARLY_PARTS; part++) {
		if (!adopt_part(order, &key, part, first, &next))
			break;
		connection->kept++;
		change_kept(order->owner, 1);
	}
	return connection->kept;
}
