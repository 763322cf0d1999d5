// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Shared by the base, whose programs see all packets (probes/l7.bpf.c), and the parsers of protocols. A parser is
 * a pair of programs in an object of its own. User space puts them into the slots of their protocol, and the base
 * reaches them by tail call, which passes on the packet and the words of its control block (ADR 44).
 */
enum l7_protocol {
	L7_UNKNOWN,
	L7_OTHER, /* none of the others, or given up; no parser is called */
	L7_DATAGRAM_DNS, /* UDP; has no connection */
	L7_DNS, /* TCP */
	L7_HTTP1,
	L7_HTTP2,
	L7_TLS,
};

SHARED_ENUM(l7_protocol);

#define L7_PROTOCOLS 16 /* slots */

/* Port of DNS servers. Messages of DNS do not identify themselves. */
#define DNS_PORT 53

/* Direction of bytes as seen from the socket. */
enum l7_direction { L7_SENT, L7_RECEIVED };

enum l7_mark {
	L7_GAP = 1, /* bytes right before this segment were never seen and will not come */
	L7_LATE = 2, /* the connection is older than the programs */
	L7_IS_RECEIVED = 4, /* direction of the bytes */
	L7_IS_KEPT = 8, /* the bytes are in a struct l7_segment, not in the packet */
	L7_THEN = 16, /* the packet itself comes after the kept segments; only in struct l7_connection */
	L7_REQUEST = 32, /* the frame by which a late HTTP/2 connection was recognized is a request; likewise */
	L7_UPGRADED = 64, /* HTTP/1.1 was upgraded to HTTP/2; likewise */
};

/* Bytes of IP headers without options. */
#define IPV4_HEADER 20
#define IPV6_HEADER 40

#define L7_FIN 1 /* bits of the TCP header's flags */
#define L7_RST 4

struct l7_stream {
	__u32 next; /* sequence number of the next byte that matters; a parser may increase it to skip bytes */
	__u32 is_known;
};

/* State of a TCP connection. Freed with the socket or, if the kernel reports its end, before. */
struct l7_connection {
	__u64 netns; /* cookie */
	__u64 cgroup; /* cgroup ID of the socket in the node's own namespace; 0 in other namespaces */
	struct l7_stream sent, received;
	__u8 protocol; /* a parser may change it: L7_OTHER ends the calls for this connection */
	__u8 tries; /* segments that did not show the protocol */
	__u8 marks; /* L7_LATE, L7_THEN */
	__u8 unlisted; /* slot to use if the namespace is not listed */
	__u32 kept; /* number of kept segments */
	__u32 owner; /* slot that the connection is charged to */
	__u32 spare;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_connection);
} l7_connections SEC(".maps");

#define L7_SEGMENT 16384

/* Received bytes that have to wait for earlier ones, or that arrived before their socket existed. */
struct l7_segment {
	__u32 length;
	__u32 ack; /* ACK field of the segments */
	__u64 time; /* of the arrival of the first one */
	__u8 bytes[L7_SEGMENT];
};

struct l7_segment_key {
	__u64 connection; /* socket cookie */
	__u32 seq;
	__u32 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct l7_segment_key);
	__type(value, struct l7_segment);
} l7_kept SEC(".maps");

/* Programs that continue with kept segments. The kernel requires one array for each hook. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} l7_again_sent SEC(".maps"), l7_again_received SEC(".maps");

/* The part of a segment that a parser has not seen yet. */
struct l7_packet {
	__u32 offset; /* of the part in the packet or in the bytes of the struct l7_segment */
	__u32 length; /* bytes; 0 if the segment has only a FIN or RST */
	__u32 seq; /* sequence number of the first byte; for UDP, the ports as in the header */
	__u32 ack; /* ACK field: sequence number of the next byte in the other direction */
	__u8 tcp_flags;
	__u8 marks;
	__u32 kept_seq; /* key of the struct l7_segment */
};

static __always_inline void l7_pass(struct __sk_buff *skb, const struct l7_packet *packet)
{
	skb->cb[0] = (packet->offset & 0xffff) | (__u32)packet->tcp_flags << 16 | (__u32)packet->marks << 24;
	/* Only packets that the kernel has merged are long enough to need more bits. */
	skb->cb[1] = packet->length;
	skb->cb[2] = packet->seq;
	skb->cb[3] = packet->ack;
	skb->cb[4] = packet->marks & L7_IS_KEPT ? packet->kept_seq : packet->offset >> 16;
}

/* Reads what the base has passed to this program. */
static __always_inline void l7_packet_of(struct __sk_buff *skb, struct l7_packet *packet)
{
	__u32 first = skb->cb[0];

	packet->offset = first & 0xffff;
	packet->tcp_flags = first >> 16;
	packet->marks = first >> 24;
	packet->length = skb->cb[1];
	packet->seq = skb->cb[2];
	packet->ack = skb->cb[3];
	packet->kept_seq = skb->cb[4];
	if (!(packet->marks & L7_IS_KEPT))
		packet->offset |= (packet->kept_seq & 0xf) << 16;
}

/* Returns the direction of the bytes that the base has passed to this program. */
static __always_inline enum l7_direction l7_passed_direction(const struct __sk_buff *skb)
{
	return skb->cb[0] >> 24 & L7_IS_RECEIVED ? L7_RECEIVED : L7_SENT;
}

static __always_inline enum l7_direction l7_direction_of(const struct l7_packet *packet)
{
	return packet->marks & L7_IS_RECEIVED ? L7_RECEIVED : L7_SENT;
}

static __always_inline struct l7_stream *l7_stream_of(struct l7_connection *connection, enum l7_direction direction)
{
	return direction == L7_SENT ? &connection->sent : &connection->received;
}

/* Returns the socket of a packet. For these programs, the kernel replaces a request socket by its listener. */
static __always_inline struct bpf_sock *l7_socket(struct __sk_buff *skb)
{
	return skb->sk;
}

/* First call of a parser of a TCP protocol. Returns NULL if there is nothing to do. */
static __always_inline struct l7_connection *l7_take(struct __sk_buff *skb, struct l7_packet *packet)
{
	struct bpf_sock *sk = l7_socket(skb);

	l7_packet_of(skb, packet);
	return sk ? bpf_sk_storage_get(&l7_connections, sk, NULL, 0) : NULL;
}

static __always_inline struct l7_segment_key l7_key_of(struct __sk_buff *skb, __u32 seq)
{
	return (struct l7_segment_key){.connection = bpf_get_socket_cookie(skb), .seq = seq};
}

/* Returns the kept segment that this program was called for; NULL if it is no longer there. */
static __always_inline struct l7_segment *l7_take_segment(struct __sk_buff *skb, const struct l7_packet *packet)
{
	struct l7_segment_key key = l7_key_of(skb, packet->kept_seq);

	return bpf_map_lookup_elem(&l7_kept, &key);
}

/*
 * Last call of a parser of a TCP protocol, whose result the program returns. Continues with kept segments if there are
 * any. @param is_egress hook of the program
 */
static __always_inline int l7_finish(struct __sk_buff *skb, const struct l7_connection *connection, bool is_egress)
{
	__u32 marks = connection->marks, kept = connection->kept;

	/* Read again, so that the program need not store it. */
	if (skb->cb[0] >> 24 & L7_IS_KEPT) {
		struct l7_segment_key key = l7_key_of(skb, skb->cb[4]);

		bpf_map_delete_elem(&l7_kept, &key);
	}
	if (!(marks & L7_THEN) && (is_egress || !kept))
		return 1;
	if (is_egress)
		bpf_tail_call(skb, &l7_again_sent, 0);
	else
		bpf_tail_call(skb, &l7_again_received, 0);
	return 1;
}
