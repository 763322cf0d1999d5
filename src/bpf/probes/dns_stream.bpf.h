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

static __always_inline bool read_stream_context(struct dns_context *context, struct __sk_buff *skb, bool is_egress)
{
	bool is_server;

	if (!read_context(context, skb, is_egress))
		return false;
	context->connection = bpf_sk_storage_get(&l7_connections, context->sk, NULL, 0);
	if (!context->connection)
		return false;
	is_server = context->sk->src_port == DNS_PORT;
	context->is_sent = l7_passed_direction(skb) == L7_SENT;
	context->from_server = is_server == context->is_sent;
	context->to_server = !context->from_server;
	context->key.is_tcp = 1;
	context->key.port = context->sk->dst_port;
	return true;
}

static __always_inline enum dns_place_of_bytes buffer_for(enum l7_direction direction)
{
	return direction == L7_SENT ? IN_SENT : IN_RECEIVED;
}

/*
 * Counts the message in the buffer. This function and the next two are global, so that the verifier checks each one
 * once instead of in a loop. They take numbers, because earlier kernels accept nothing else.
 */
__noinline int dns_buffered_message(struct __sk_buff *skb, __u32 is_egress, __u32 bytes)
{
	struct dns_context context = {};

	if (!read_stream_context(&context, skb, is_egress))
		return 0;
	context.where = buffer_for(l7_passed_direction(skb));
	if (!find_buffered(&context.source, skb, context.where))
		return 0;
	context.length = bytes;
	handle_message(&context);
	return 0;
}

__noinline int dns_unknown_stream(struct __sk_buff *skb, __u32 is_egress, __u32 cause)
{
	struct dns_context context = {};

	if (read_stream_context(&context, skb, is_egress))
		count_unknown(&context, cause);
	return 0;
}

/*
 * Appends to the buffer, and counts the message once its question is complete.
 * @param at position in the segment, as a difference from its start
 * @return number of bytes that need not be read any more; 0 if this is not DNS, or if the bytes cannot be read
 */
__noinline int dns_step(struct __sk_buff *skb, __u32 at, __u32 is_egress)
{
	const struct l7_segment *segment;
	struct l7_packet packet = {};
	struct dns_buffer *buffer;
	__u32 length, wanted = 2, taken;
	__u64 place, last, offset;

	l7_packet_of(skb, &packet);
	buffer = dns_buffer_of(skb, buffer_for(l7_direction_of(&packet)), 0);
	if (!buffer)
		return 0;
	length = (__u32)buffer->data[0] << 8 | buffer->data[1];
	place = buffer->bytes;
	offset = packet.offset + at;
	if (buffer->bytes >= 2)
		wanted += length > DNS_BUFFERED_MAX ? DNS_BUFFERED_MAX : length;
	taken = wanted - buffer->bytes;
	if (taken > packet.length - at)
		taken = packet.length - at;
	last = taken - 1;
	asm volatile("%0 &= 511" : "+r"(place));
	asm volatile("%0 &= 511" : "+r"(last));
	if (packet.marks & L7_IS_KEPT) {
		segment = l7_take_segment(skb, &packet);
		if (!segment || bpf_probe_read_kernel(buffer->data + place, last + 1, segment->bytes + offset))
			return 0;
	} else if (bpf_skb_load_bytes(skb, offset, buffer->data + place, last + 1)) {
		return 0;
	}
	buffer->bytes += taken;
	if (buffer->bytes < wanted)
		return taken;
	if (wanted == 2)
		return (((__u32)buffer->data[0] << 8 | buffer->data[1]) < DNS_HEADER) ? 0 : taken;
	dns_buffered_message(skb, is_egress, wanted - 2);
	buffer->bytes = 0;
	return taken + length - (wanted - 2);
}

/* Maximum number of steps in one packet. A message takes two, so this is enough for a segment of 1,460 bytes. */
#define DNS_STEPS 160

/* Gives up a connection: nothing shows where the next message begins. */
static __always_inline void give_up_stream(struct __sk_buff *skb, struct l7_connection *connection, bool is_egress,
					   enum dns_unknown cause)
{
	connection->protocol = L7_OTHER;
	dns_unknown_stream(skb, is_egress, cause);
}

static __always_inline int handle_stream(struct __sk_buff *skb, bool is_egress)
{
	struct l7_connection *connection;
	struct l7_packet packet = {};
	__u32 at = 0;

	connection = l7_take(skb, &packet);
	if (!connection)
		return 1;
	if (!packet.length)
		return l7_finish(skb, connection, is_egress);
	if (packet.marks & (L7_GAP | L7_LATE) ||
	    !dns_buffer_of(skb, buffer_for(l7_direction_of(&packet)), BPF_SK_STORAGE_GET_F_CREATE)) {
		give_up_stream(skb, connection, is_egress, UNKNOWN_MISSING);
		return l7_finish(skb, connection, is_egress);
	}
	for (int i = 0; i < DNS_STEPS; i++) {
		__u32 done;

		if (at >= packet.length)
			break;
		done = dns_step(skb, at, is_egress);
		if (!done) {
			give_up_stream(skb, connection, is_egress, UNKNOWN_MALFORMED);
			break;
		}
		at += done;
	}
	l7_stream_of(connection, l7_direction_of(&packet))->next = packet.seq + at;
	return l7_finish(skb, connection, is_egress);
}
