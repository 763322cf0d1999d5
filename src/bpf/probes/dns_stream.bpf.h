// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Finds the DNS messages in the bytes of a TCP connection. */
#include "common/l7.bpf.h"
#include "dns_handle.bpf.h"
#include "dns_message.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* How a program was called for bytes of a TCP connection, as bits. */
enum dns_call {
	CALL_EGRESS = 1, /* the packet is sent */
	CALL_RECEIVED = 2, /* the bytes were received, maybe earlier than the packet */
};

static __always_inline enum dns_place_of_bytes buffer_for(__u32 call)
{
	return call & CALL_RECEIVED ? IN_RECEIVED : IN_SENT;
}

static __always_inline bool read_stream_context(struct dns_context *context, struct __sk_buff *skb, __u32 call)
{
	bool is_server;

	if (!read_context(context, skb, call & CALL_EGRESS))
		return false;
	context->connection = bpf_sk_storage_get(&l7_connections, context->sk, NULL, 0);
	if (!context->connection)
		return false;
	is_server = context->sk->src_port == DNS_PORT;
	context->is_sent = !(call & CALL_RECEIVED);
	context->from_server = is_server == context->is_sent;
	context->to_server = !context->from_server;
	context->key.is_tcp = 1;
	context->key.port = context->sk->dst_port;
	return true;
}

/* Counts the message in the buffer. A global function, so that the verifier checks it once instead of in a loop. */
__noinline int dns_buffered_message(struct __sk_buff *skb, __u32 call, __u32 bytes)
{
	struct dns_context context = {};

	if (!read_stream_context(&context, skb, call))
		return 0;
	context.where = buffer_for(call);
	context.source = source_of(skb, 2, context.where);
	if (!context.source.buffer)
		return 0;
	context.length = bytes;
	handle_message(&context);
	return 0;
}

__noinline int dns_unknown_stream(struct __sk_buff *skb, __u32 call, __u32 cause)
{
	struct dns_context context = {};

	if (read_stream_context(&context, skb, call))
		count_unknown(&context, cause);
	return 0;
}

/* Maximum number of steps in one packet. A message takes two, so this is enough for a segment of 1,460 bytes. */
#define DNS_STEPS 160

/*
 * Appends to the buffer, and counts the message once its question is complete.
 * @param segment kept segment with the bytes; NULL if they are in the packet
 * @param at position in the segment, as a difference from its start
 * @return number of bytes that need not be read any more; 0 if this is not DNS
 */
static __always_inline __u32 step(struct __sk_buff *skb, struct dns_buffer *buffer, const struct l7_packet *packet,
				  const struct l7_segment *segment, __u32 at, __u32 call)
{
	__u32 length = (__u32)buffer->data[0] << 8 | buffer->data[1], wanted = 2, taken;
	__u64 place = buffer->bytes, last, offset = packet->offset + at;

	if (buffer->bytes >= 2)
		wanted += length > DNS_BUFFERED_MAX ? DNS_BUFFERED_MAX : length;
	taken = wanted - buffer->bytes;
	if (taken > packet->length - at)
		taken = packet->length - at;
	last = taken - 1;
	asm volatile("%0 &= 511" : "+r"(place));
	asm volatile("%0 &= 511" : "+r"(last));
	if (segment) {
		if (bpf_probe_read_kernel(buffer->data + place, last + 1, segment->bytes + offset))
			return 0;
	} else if (bpf_skb_load_bytes(skb, offset, buffer->data + place, last + 1)) {
		return 0;
	}
	buffer->bytes += taken;
	if (buffer->bytes < wanted)
		return taken;
	if (wanted == 2)
		return (((__u32)buffer->data[0] << 8 | buffer->data[1]) < DNS_HEADER) ? 0 : taken;
	dns_buffered_message(skb, call, wanted - 2);
	buffer->bytes = 0;
	return taken + length - (wanted - 2);
}

/* Gives up a connection: nothing shows where the next message begins. */
static __always_inline void give_up_stream(struct __sk_buff *skb, struct l7_connection *connection, __u32 call,
					   enum dns_unknown cause)
{
	connection->protocol = L7_OTHER;
	dns_unknown_stream(skb, call, cause);
}

static __always_inline int handle_stream(struct __sk_buff *skb, bool is_egress, bool is_kept)
{
	__u32 call = (is_egress ? CALL_EGRESS : 0) | (!is_egress || is_kept ? CALL_RECEIVED : 0), at = 0;
	const struct l7_segment *segment = NULL;
	struct l7_connection *connection;
	struct l7_packet packet = {};
	struct dns_buffer *buffer;

	connection = l7_take(skb, &packet);
	if (!connection)
		return 1;
	buffer = dns_buffer_of(skb, buffer_for(call), BPF_SK_STORAGE_GET_F_CREATE);
	if (is_kept)
		segment = l7_take_segment(skb, &packet);
	if (!packet.length)
		return l7_finish(skb, connection, &packet, is_egress);
	if (!buffer || (is_kept && !segment) || packet.marks & (L7_GAP | L7_LATE)) {
		give_up_stream(skb, connection, call, UNKNOWN_MISSING);
		return l7_finish(skb, connection, &packet, is_egress);
	}
	for (int i = 0; i < DNS_STEPS; i++) {
		__u32 done;

		if (at >= packet.length)
			break;
		done = step(skb, buffer, &packet, segment, at, call);
		if (!done) {
			give_up_stream(skb, connection, call, UNKNOWN_MALFORMED);
			break;
		}
		at += done;
	}
	l7_stream_of(connection, call & CALL_RECEIVED ? L7_RECEIVED : L7_SENT)->next = packet.seq + at;
	return l7_finish(skb, connection, &packet, is_egress);
}
