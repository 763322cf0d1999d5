// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Sends answers with addresses to user space, which names peers by them. */
#include "common/events.bpf.h"
#include "common/shared.bpf.h"
#include "dns_message.bpf.h"
#include "dns_waiting.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28

/* Bytes of an answer that user space gets. */
#define DNS_COPIED 512

struct dns_answer {
	__u64 netns, cgroup; /* as in struct place_key */
	__u32 length; /* of the message */
	__u32 bytes; /* that were copied */
	__u8 message[DNS_COPIED];
};

EVENT_RECORD(dns_answer);

/* Answers of an owner that were sent lately. An answer to another name with the same index replaces an earlier one. */
#define TOLD_OF_OWNER 32

struct dns_told {
	__u64 hash; /* of the place, the name and the type */
	__u64 until; /* bpf_ktime_get_ns() */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS *TOLD_OF_OWNER);
	__type(key, __u32);
	__type(value, struct dns_told);
} dns_told SEC(".maps");

#define NS_PER_SECOND 1000000000ULL
/* Limits of the time for which equal answers are not sent again, in seconds. */
#define TOLD_MIN 1
#define TOLD_MAX 60

/* The start of a record whose name is a pointer to the question's, as nearly all servers write it. */
struct dns_pointed {
	__be16 name, type, class;
	__be32 ttl;
	__u8 beyond[6]; /* room for a read of a size that the verifier cannot tell */
} __attribute__((packed));

/* Returns how long the answer is valid according to its first record, within the limits above. */
static __always_inline __u32 told_seconds(const struct dns_context *context, const struct dns_message *message)
{
	__u32 at = DNS_HEADER + message->name_bytes + 4, seconds;
	struct dns_pointed record = {};

	if (at + 10 > context->length || !dns_read(&context->source, at, &record, 10, 16) ||
	    record.name != bpf_htons(0xc000 | DNS_HEADER))
		return TOLD_MIN;
	seconds = bpf_ntohl(record.ttl);
	return seconds < TOLD_MIN ? TOLD_MIN : seconds > TOLD_MAX ? TOLD_MAX : seconds;
}

static __always_inline bool copy_message(const struct dns_context *context, struct dns_answer *answer)
{
	const __u8 *buffer = context->source.buffer;
	__u64 last, place = context->source.offset;

	/* A buffer has the start of the message, after its length. */
	answer->length = buffer ? (__u32)buffer[0] << 8 | buffer[1] : context->length;
	answer->bytes = context->length < DNS_COPIED ? context->length : DNS_COPIED;
	last = answer->bytes - 1;
	asm volatile("%0 &= 511" : "+r"(last));
	if (!buffer)
		return !bpf_skb_load_bytes(context->source.skb, place, answer->message, last + 1);
	asm volatile("%0 &= 511" : "+r"(place));
	return !bpf_probe_read_kernel(answer->message, last + 1, buffer + place);
}

/* Sends an answer to a client's query for addresses, unless an equal one was sent while that is valid. */
static __always_inline void tell_addresses(const struct dns_context *context, const struct dns_message *message,
					   const struct dns_waiting *query, __u64 now)
{
	__u64 hash = message->hash ^ query->netns ^ query->cgroup << 32 ^ (__u64)query->type << 56;
	__u32 slot = query->slot, index;
	struct dns_answer *answer;
	struct dns_told *told;

	if (!events_enabled || query->role != ROLE_CLIENT || !message->questions || !message->answers ||
	    (message->flags & DNS_RCODE) != RCODE_NOERROR ||
	    (query->type != DNS_TYPE_A && query->type != DNS_TYPE_AAAA))
		return;
	index = slot * TOLD_OF_OWNER + (hash ^ hash >> 32) % TOLD_OF_OWNER;
	told = bpf_map_lookup_elem(&dns_told, &index);
	if (!told)
		return;
	if (told->hash == hash && told->until > now)
		return;
	answer = event_reserve_of(slot, sizeof(*answer));
	if (!answer)
		return;
	answer->netns = query->netns;
	answer->cgroup = query->cgroup;
	if (!copy_message(context, answer)) {
		bpf_ringbuf_discard(answer, 0);
		return;
	}
	told->hash = hash;
	told->until = now + told_seconds(context, message) * NS_PER_SECOND;
	event_submit(answer);
}
