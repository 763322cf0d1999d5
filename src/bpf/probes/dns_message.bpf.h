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

/* A message in a packet or in a buffer. */
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

/* Finds the message in a buffer. Returns false if there is no buffer. */
static __always_inline bool find_buffered(struct dns_source *source, struct __sk_buff *skb,
					  enum dns_place_of_bytes where)
{
	struct dns_buffer *buffer = dns_buffer_of(skb, where, 0);

	if (!buffer)
		return false;
	source->skb = skb;
	source->buffer = buffer->data;
	source->offset = 2;
	return true;
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
 * Returns the address of bytes in a buffer or in the linear part of a packet; NULL if they are not all there. Access to
 * them needs no helper call.
 * @param bytes a constant, at most 16
 */
static __always_inline const void *dns_linear(const struct dns_source *source, __u32 at, const __u32 bytes)
{
	__u64 place = source->offset + at;
	const __u8 *start;

	if (source->buffer) {
		asm volatile("%0 &= 511" : "+r"(place));
		return source->buffer + place;
	}
	asm volatile("%0 &= 0x7fff" : "+r"(place));
	start = (const __u8 *)(long)source->skb->data + place;
	return start + bytes > (const __u8 *)(long)source->skb->data_end ? NULL : start;
}

/* How bytes are read: directly, as long as they are where that is possible, or by a helper. */
enum dns_access { READS_DIRECTLY, READS_BY_HELPER };

/* @param bytes a constant power of two, at most 8 */
static __always_inline bool dns_load(const struct dns_source *source, __u32 at, void *to, const __u32 bytes,
				     enum dns_access access)
{
	const void *linear;

	if (access == READS_BY_HELPER)
		return dns_read(source, at, to, bytes, bytes);
	linear = dns_linear(source, at, bytes);
	if (!linear)
		return false;
	if (bytes == 8)
		*(__u64 *)to = *(const __u64 *)linear;
	else if (bytes == 2)
		*(__u16 *)to = *(const __u16 *)linear;
	else
		*(__u8 *)to = *(const __u8 *)linear;
	return true;
}

#define NOT_DIRECT (~0ULL)

/*
 * Returns the length of the question's name in bytes | the number of its type << 16; 0 if it is malformed, and
 * NOT_DIRECT if it cannot be read in this way. Names in questions are not compressed.
 * @param length available bytes of the message
 */
static __always_inline __u64 read_question(const struct dns_source *source, __u32 length, enum dns_access access)
{
	const __u64 unread = access == READS_DIRECTLY ? NOT_DIRECT : 0;
	__u32 at = DNS_HEADER;

	for (__u32 label = 0; label < DNS_LABELS_MAX; label++) {
		__be16 type = 0;
		__u8 bytes = 0;

		if (at >= length)
			return 0;
		if (!dns_load(source, at, &bytes, 1, access))
			return unread;
		if (bytes > DNS_LABEL_MAX)
			return 0;
		at += 1 + bytes;
		if (at - DNS_HEADER > DNS_NAME_MAX)
			return 0;
		if (bytes)
			continue;
		/* The type and the class follow. */
		if (length < at + 4)
			return 0;
		if (!dns_load(source, at, &type, 2, access))
			return unread;
		return (at - DNS_HEADER) | (__u32)bpf_ntohs(type) << 16;
	}
	return 0;
}

static __always_inline __u64 hash_word(__u64 hash, __u64 word)
{
	/* Upper and lower case are the same. */
	hash = (hash ^ (word | 0x2020202020202020ULL)) * 1099511628211ULL;
	return hash ^ hash >> 29;
}

/* Returns a hash of the name; NOT_DIRECT if it cannot be read in this way. */
static __always_inline __u64 hash_name(const struct dns_source *source, __u32 name_bytes, enum dns_access access)
{
	__u64 hash = name_bytes, word = 0;
	__u32 at, rest = name_bytes & 7;

	for (at = 8; at <= DNS_NAME_MAX && at <= name_bytes; at += 8) {
		if (!dns_load(source, DNS_HEADER + at - 8, &word, 8, access))
			return NOT_DIRECT;
		hash = hash_word(hash, word);
	}
	if (!rest)
		return hash;
	/* The last bytes are read together with those before them, which exist also for a short name: the header. */
	if (!dns_load(source, DNS_HEADER + name_bytes - 8, &word, 8, access))
		return NOT_DIRECT;
	return hash_word(hash, word >> (8 - rest) * 8);
}

/*
 * Global functions, so that the verifier checks each one once and forgets the length of the name, instead of following
 * each possible length through the program. They take numbers, because earlier kernels accept nothing else. Each has
 * one way to read bytes, because the verifier would follow each combination of ways.
 */
__noinline __u64 dns_far_question(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	struct dns_source source = {.skb = skb, .offset = offset};

	return read_question(&source, length, READS_BY_HELPER);
}

__noinline __u64 dns_question(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	struct dns_source source = {.skb = skb, .offset = offset};
	__u64 question = read_question(&source, length, READS_DIRECTLY);

	return question == NOT_DIRECT ? dns_far_question(skb, offset, length) : question;
}

__noinline __u64 dns_far_hash(struct __sk_buff *skb, __u32 offset, __u32 name_bytes)
{
	struct dns_source source = {.skb = skb, .offset = offset};

	return hash_name(&source, name_bytes, READS_BY_HELPER);
}

__noinline __u64 dns_hash(struct __sk_buff *skb, __u32 offset, __u32 name_bytes)
{
	struct dns_source source = {.skb = skb, .offset = offset};
	__u64 hash = hash_name(&source, name_bytes, READS_DIRECTLY);

	return hash == NOT_DIRECT ? dns_far_hash(skb, offset, name_bytes) : hash;
}

__noinline __u64 dns_buffered_question(struct __sk_buff *skb, __u32 where, __u32 length)
{
	struct dns_source source = {};

	return find_buffered(&source, skb, where) ? read_question(&source, length, READS_DIRECTLY) : 0;
}

__noinline __u64 dns_buffered_hash(struct __sk_buff *skb, __u32 where, __u32 name_bytes)
{
	struct dns_source source = {};

	return find_buffered(&source, skb, where) ? hash_name(&source, name_bytes, READS_DIRECTLY) : 0;
}

/* Returns false if this is not a DNS message with at most one question. @param length available bytes of the message */
static __always_inline bool read_message(const struct dns_source *source, __u32 length, enum dns_place_of_bytes where,
					 struct dns_message *message)
{
	const void *linear = dns_linear(source, 0, DNS_HEADER);
	struct dns_header header;
	__u64 question;

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
	question = where == IN_PACKET ? dns_question(source->skb, source->offset, length)
				      : dns_buffered_question(source->skb, where, length);
	if (!question)
		return false;
	message->name_bytes = question & 0xffff;
	message->type = question >> 16;
	message->hash = where == IN_PACKET ? dns_hash(source->skb, source->offset, message->name_bytes)
					   : dns_buffered_hash(source->skb, where, message->name_bytes);
	return true;
}
