// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Reads the header and the question of a DNS message (RFC 1035, section 4.1). */
#include "common/l7.bpf.h"
#include "common/shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define DNS_HEADER 12
#define DNS_LABEL_MAX 63
#define DNS_NAME_MAX 255 /* bytes of a name in a message, including the final zero */
#define DNS_LABELS_MAX 128
/*
 * A buffered message has its length in the first two bytes. Its question ends within the next 271 bytes, and the
 * addresses of most answers within these.
 */
#define DNS_BUFFER 1024
#define DNS_BUFFERED_MAX 508

#define DNS_FLAG_ANSWER 0x8000
#define DNS_OPCODE 0x7800
#define DNS_FLAG_TRUNCATED 0x0200
#define DNS_RCODE 0x000f

/* Values are indices of counters; type_of() converts numbers of the protocol. */
enum dns_type {
	TYPE_A,
	TYPE_AAAA,
	TYPE_CNAME,
	TYPE_HTTPS,
	TYPE_MX,
	TYPE_NS,
	TYPE_PTR,
	TYPE_SOA,
	TYPE_SRV,
	TYPE_TXT,
	TYPE_OTHER,
};

#define DNS_TYPES 11

/* Values are those of the protocol. */
enum dns_rcode {
	RCODE_NOERROR,
	RCODE_FORMERR,
	RCODE_SERVFAIL,
	RCODE_NXDOMAIN,
	RCODE_NOTIMP,
	RCODE_REFUSED,
	RCODE_YXDOMAIN,
	RCODE_YXRRSET,
	RCODE_NXRRSET,
	RCODE_NOTAUTH,
	RCODE_NOTZONE,
	RCODE_OTHER,
};

#define DNS_RCODES 12

SHARED_ENUM(dns_type);
SHARED_ENUM(dns_rcode);

static __always_inline __u8 type_of(__u16 number)
{
	switch (number) {
	case 1:
		return TYPE_A;
	case 2:
		return TYPE_NS;
	case 5:
		return TYPE_CNAME;
	case 6:
		return TYPE_SOA;
	case 12:
		return TYPE_PTR;
	case 15:
		return TYPE_MX;
	case 16:
		return TYPE_TXT;
	case 28:
		return TYPE_AAAA;
	case 33:
		return TYPE_SRV;
	case 65:
		return TYPE_HTTPS;
	default:
		return TYPE_OTHER;
	}
}

struct dns_header {
	__be16 id, flags, questions, answers, authorities, additional;
	__be16 beyond[2]; /* room for a read of a size that the verifier cannot tell */
};

struct dns_message {
	__u16 id;
	__u16 flags;
	__u16 questions; /* 0 or 1 */
	__u16 type; /* number of the protocol */
	__u16 name_bytes; /* length of the name in the message; 0 without a question */
	__u64 hash; /* of the name in lower case; 0 without a question */
	__u16 answers; /* number of records in the answer section */
};

/* The start of messages in one direction of a TCP connection, after the two bytes with the length. */
struct dns_buffer {
	__u32 bytes;
	__u32 padding;
	__u8 data[DNS_BUFFER];
};

struct dns_stream {
	struct dns_buffer sent, received;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct dns_stream);
} dns_streams SEC(".maps");

enum dns_place_of_bytes { IN_PACKET, IN_SENT, IN_RECEIVED };

/*
 * A message in a packet or in a buffer. The functions below are global and take numbers, so that the verifier checks
 * each one once and forgets the length of the name, instead of following each possible length through the program.
 */
struct dns_source {
	struct __sk_buff *skb;
	const __u8 *buffer; /* NULL if the message is in the packet */
	__u32 offset; /* of the message */
};

static __always_inline struct dns_buffer *dns_buffer_of(struct __sk_buff *skb, enum dns_place_of_bytes where,
							__u64 flags)
{
	struct bpf_sock *sk = l7_socket(skb);
	struct dns_stream *stream = sk ? bpf_sk_storage_get(&dns_streams, sk, NULL, flags) : NULL;

	if (!stream)
		return NULL;
	return where == IN_SENT ? &stream->sent : &stream->received;
}

static __always_inline struct dns_source source_of(struct __sk_buff *skb, __u32 offset, __u32 where)
{
	struct dns_source source = {.skb = skb, .offset = offset};

	if (where != IN_PACKET) {
		struct dns_buffer *buffer = dns_buffer_of(skb, where, 0);

		source.buffer = buffer ? buffer->data : NULL;
	}
	return source;
}

/*
 * @param bytes 1 to max
 * @param max a power of two, at most 128
 */
static __always_inline bool dns_read(const struct dns_source *source, __u32 at, void *to, __u32 bytes, const __u32 max)
{
	__u64 last = bytes - 1, place = source->offset + at;

	/* Masks the very register that the helper gets, because earlier verifiers lose a bound proved on a copy. */
	asm volatile("%0 &= %1" : "+r"(last) : "i"(max - 1));
	if (!source->buffer)
		return !bpf_skb_load_bytes(source->skb, place, to, last + 1);
	asm volatile("%0 &= 511" : "+r"(place));
	return !bpf_probe_read_kernel(to, last + 1, source->buffer + place);
}

/*
 * Returns the address of bytes in the linear part of a packet; NULL if they are not all there. Access to them needs no
 * helper call.
 * @param bytes a constant
 */
static __always_inline const void *dns_linear(const struct dns_source *source, __u32 at, const __u32 bytes)
{
	__u64 place = source->offset + at;
	const __u8 *start;

	if (source->buffer)
		return NULL;
	asm volatile("%0 &= 0x7fff" : "+r"(place));
	start = (const __u8 *)(long)source->skb->data + place;
	return start + bytes > (const __u8 *)(long)source->skb->data_end ? NULL : start;
}

static __always_inline bool dns_read_byte(const struct dns_source *source, __u32 at, __u8 *byte)
{
	const __u8 *linear = dns_linear(source, at, 1);

	if (!linear)
		return dns_read(source, at, byte, 1, 1);
	*byte = *linear;
	return true;
}

/*
 * Returns the length of the question's name in bytes; 0 if it is malformed. Names in questions are not compressed.
 * @param offset of the message
 * @param length available bytes of the message
 */
__noinline int dns_name_bytes(struct __sk_buff *skb, __u32 offset, __u32 length, __u32 where)
{
	struct dns_source source = source_of(skb, offset, where);
	__u32 at = DNS_HEADER;

	for (__u32 label = 0; label < DNS_LABELS_MAX; label++) {
		__u8 bytes = 0;

		if (at >= length || !dns_read_byte(&source, at, &bytes) || bytes > DNS_LABEL_MAX)
			return 0;
		at += 1 + bytes;
		if (at - DNS_HEADER > DNS_NAME_MAX)
			return 0;
		if (!bytes)
			return at - DNS_HEADER;
	}
	return 0;
}

/* Returns a hash of the name, in which upper and lower case are the same. */
__noinline __u64 dns_name_hash(struct __sk_buff *skb, __u32 offset, __u32 name_bytes, __u32 where)
{
	struct dns_source source = source_of(skb, offset, where);
	__u64 hash = name_bytes;

	for (__u32 at = 0; at < DNS_NAME_MAX && at < name_bytes; at += 8) {
		const __u64 *linear = dns_linear(&source, DNS_HEADER + at, 8);
		__u32 rest = name_bytes - at;
		__u64 word = 0;

		if (linear)
			word = *linear;
		else if (!dns_read(&source, DNS_HEADER + at, &word, rest < 8 ? rest : 8, 8))
			return 0;
		if (rest < 8)
			word &= (1ULL << rest * 8) - 1;
		hash = (hash ^ (word | 0x2020202020202020ULL)) * 1099511628211ULL;
		hash ^= hash >> 29;
	}
	return hash;
}

/* Returns false if this is not a DNS message with at most one question. @param length available bytes of the message */
static __always_inline bool read_message(const struct dns_source *source, __u32 length, enum dns_place_of_bytes where,
					 struct dns_message *message)
{
	const void *linear = dns_linear(source, 0, DNS_HEADER);
	struct dns_header header;
	__be32 end;
	__u32 at;

	if (length < DNS_HEADER)
		return false;
	if (linear)
		__builtin_memcpy(&header, linear, DNS_HEADER);
	else if (!dns_read(source, 0, &header, DNS_HEADER, 16))
		return false;
	message->id = bpf_ntohs(header.id);
	message->flags = bpf_ntohs(header.flags);
	message->questions = bpf_ntohs(header.questions);
	message->answers = bpf_ntohs(header.answers);
	if (message->questions > 1)
		return false;
	/* Other operations, such as updates, use the sections in their own way. */
	if (message->flags & DNS_OPCODE)
		return true;
	if (!(message->flags & DNS_FLAG_ANSWER) &&
	    (!message->questions || header.answers || bpf_ntohs(header.authorities) > 1))
		return false;
	if (!message->questions)
		return true;
	message->name_bytes = dns_name_bytes(source->skb, source->offset, length, where);
	at = DNS_HEADER + message->name_bytes;
	if (!message->name_bytes || length < at + sizeof(end))
		return false;
	linear = dns_linear(source, at, sizeof(end));
	if (linear)
		__builtin_memcpy(&end, linear, sizeof(end));
	else if (!dns_read(source, at, &end, sizeof(end), 4))
		return false;
	message->type = bpf_ntohl(end) >> 16;
	message->hash = dns_name_hash(source->skb, source->offset, message->name_bytes, where);
	return true;
}
