// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Reads the headers of packets, and recognizes protocols by the first bytes of a connection. */
#include "common/l7.bpf.h"
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define TCP_HEADER 20
#define UDP_HEADER 8
#define IPV4_FRAGMENT 0x3fff /* bits of the fragment offset and of the flag MF */

struct l7_header {
	__be16 source, destination; /* ports */
	bool is_tcp, is_ipv6;
	struct l7_packet packet;
};

/*
 * Reads the ports, and finds the transport header. Returns NULL if the packet is neither TCP nor UDP, or cannot be
 * read. Packets with extension headers are skipped.
 */
static __always_inline const __u8 *read_ports(const struct __sk_buff *skb, struct l7_header *header)
{
	const __u8 *ip = (const void *)(long)skb->data, *end = (const void *)(long)skb->data_end, *transport;
	__u32 at, protocol;

	if (ip + IPV4_HEADER > end)
		return NULL;
	header->is_ipv6 = ip[0] >> 4 != 4;
	if (!header->is_ipv6) {
		if (*(const __be16 *)(ip + 6) & bpf_htons(IPV4_FRAGMENT))
			return NULL;
		at = (ip[0] & 0xf) * 4;
		protocol = ip[9];
	} else {
		at = IPV6_HEADER;
		protocol = ip[6];
	}
	transport = ip + at;
	if (transport + UDP_HEADER > end)
		return NULL;
	header->is_tcp = protocol == IPPROTO_TCP;
	if (header->is_tcp ? transport + TCP_HEADER > end : protocol != IPPROTO_UDP)
		return NULL;
	header->source = *(const __be16 *)transport;
	header->destination = *(const __be16 *)(transport + 2);
	header->packet.offset = at;
	return transport;
}

/* Reads the rest of the header. @param transport what read_ports() has returned */
static __always_inline void read_packet(const struct __sk_buff *skb, struct l7_header *header, const __u8 *transport)
{
	struct l7_packet *packet = &header->packet;

	if (header->is_tcp) {
		packet->seq = bpf_ntohl(*(const __be32 *)(transport + 4));
		packet->ack = bpf_ntohl(*(const __be32 *)(transport + 8));
		packet->tcp_flags = transport[13];
		packet->offset += (transport[12] >> 4) * 4;
	} else {
		packet->seq = header->source | (__u32)header->destination << 16;
		packet->offset += UDP_HEADER;
	}
	packet->length = skb->len > packet->offset ? skb->len - packet->offset : 0;
}

/* Start of a segment. */
struct l7_first {
	__u64 words[2];
	__u32 length; /* bytes of the segment, which may be more than `words` holds */
	__u32 seq;
};

static __always_inline void read_first(struct __sk_buff *skb, const struct l7_packet *packet, struct l7_first *first)
{
	__u32 bytes = packet->length;

	first->length = bytes;
	first->seq = packet->seq;
	/* Earlier verifiers do not accept a length that is only known to be in a range. */
	if (bytes >= 16  ? bpf_skb_load_bytes(skb, packet->offset, first->words, 16)
	    : bytes >= 8 ? bpf_skb_load_bytes(skb, packet->offset, first->words, 8)
	    : bytes >= 4 ? bpf_skb_load_bytes(skb, packet->offset, first->words, 4)
			 : bpf_skb_load_bytes(skb, packet->offset, first->words, 1))
		first->length = 0;
	else if (bytes < 16)
		first->length = bytes >= 8 ? 8 : bytes >= 4 ? 4 : 1;
}

#define WORD(a, b, c, d, e, f, g, h)                                                                                \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | \
	 (__u64)(g) << 48 | (__u64)(h) << 56)

/* Returns the bits of `mask` in which the words differ; 0 if they are equal. */
#define DIFFERS(word, text, mask, bytes) (((word) ^ (text)) & (mask) & (~0ULL >> (64 - 8 * (bytes))))

/*
 * Returns whether a segment begins with a method or an answer of HTTP/1, or is the beginning of one.
 * @param mask bits of the word that the segment contains
 */
static __always_inline bool is_http1(__u64 word, __u64 mask)
{
	return !DIFFERS(word, WORD('G', 'E', 'T', ' ', 0, 0, 0, 0), mask, 4) ||
	       !DIFFERS(word, WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0), mask, 5) ||
	       !DIFFERS(word, WORD('H', 'T', 'T', 'P', '/', '1', '.', 0), mask, 7) ||
	       !DIFFERS(word, WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0), mask, 5) ||
	       !DIFFERS(word, WORD('P', 'U', 'T', ' ', 0, 0, 0, 0), mask, 4) ||
	       !DIFFERS(word, WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0), mask, 7) ||
	       !DIFFERS(word, WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0), mask, 6) ||
	       !DIFFERS(word, WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '), mask, 8) ||
	       !DIFFERS(word, WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '), mask, 8) ||
	       !DIFFERS(word, WORD('T', 'R', 'A', 'C', 'E', ' ', 0, 0), mask, 6) ||
	       /* Headers of the PROXY protocol, versions 1 and 2, which usually precede a request. */
	       !DIFFERS(word, WORD('P', 'R', 'O', 'X', 'Y', ' ', 0, 0), mask, 6) ||
	       !DIFFERS(word, WORD('\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q'), mask, 8);
}

/*
 * Returns the protocol of a connection by the first bytes of one of its first segments; L7_UNKNOWN if they do not show
 * it. A global function, so that the verifier checks it only once.
 * @param length number of valid bytes
 */
__noinline int l7_protocol_of(__u64 first, __u64 second, __u32 length)
{
	__u64 mask = length >= 8 ? ~0ULL : (1ULL << (length & 7) * 8) - 1;

	if (!length)
		return L7_UNKNOWN;
	/* The preface of HTTP/2, or at least `PRI `. */
	if (length >= 4 && !DIFFERS(first, WORD('P', 'R', 'I', ' ', '*', ' ', 'H', 'T'), mask, 8) &&
	    (length < 16 || second == WORD('T', 'P', '/', '2', '.', '0', '\r', '\n')))
		return L7_HTTP2;
	/* A TLS record with a ClientHello. */
	if (length >= 8 && (first & 0xffff) == (22 | 3 << 8) && (first >> 40 & 0xff) == 1)
		return L7_TLS;
	return is_http1(first, mask) ? L7_HTTP1 : L7_UNKNOWN;
}

#define METHOD_MIN 3 /* bytes of methods that have no name here */

/*
 * Returns whether a segment of at least 16 bytes begins like a request with a method that has no name here, such as
 * PROPFIND, and the path. The parser checks the rest of the line. A global function, so that the verifier checks it
 * only once.
 */
__noinline int l7_may_be_request(__u64 first, __u64 second)
{
	for (int index = 0; index < 15; index++) {
		__u64 byte = first & 0xff;

		first = first >> 8 | second << 56;
		second >>= 8;
		if (byte == ' ')
			return index >= METHOD_MIN && (first & 0xff) == '/';
		if (byte - 'A' >= 26 && byte != '-' && byte != '_')
			return false;
	}
	return false;
}

enum l7_late {
	LATE_NOTHING,
	LATE_REQUEST,
	LATE_RESPONSE,
};

#define FRAME_HEAD 9
#define FRAME_MAX (1 << 14)

/*
 * Returns whether a segment of a connection that is older than the programs begins with a whole frame of HTTP/2 that
 * contains headers, and whether these are of a request, as an enum l7_late. A request begins with indices of fields
 * such as `:method`, which may follow those of fields in the dynamic table, and a response with `:status`. A global
 * function, so that the verifier checks it only once.
 * @param length bytes of the segment, which has at least 16
 */
__noinline int l7_late_http2(__u64 first, __u64 second, __u32 length)
{
	__u64 head = bpf_be64_to_cpu(first);
	__u32 bytes = head >> 40, type = head >> 32 & 0xff, flags = head >> 24 & 0xff;
	__u32 stream = (head & 0xffffff) << 8 | (second & 0xff);

	/* END_STREAM and END_HEADERS */
	if (bytes < 2 || bytes > FRAME_MAX || length < FRAME_HEAD + bytes || type != 1 || (flags & ~1) != 4)
		return LATE_NOTHING;
	if (!(stream & 1) || stream >> 31)
		return LATE_NOTHING;
	for (int index = 1; index < 8; index++) {
		__u32 field = second >> (8 * index) & 0xff;

		if (field >= 0x82 && field <= 0x87)
			return LATE_REQUEST;
		if (field >= 0x88 && field <= 0x8e)
			return LATE_RESPONSE;
		if (index == 1 && field == 0x48)
			return LATE_RESPONSE;
		if (index == 1 && field >= 0x41 && field <= 0x47)
			return LATE_REQUEST;
		if (field < 0xbe || field == 0xff)
			return LATE_NOTHING;
	}
	return LATE_NOTHING;
}
