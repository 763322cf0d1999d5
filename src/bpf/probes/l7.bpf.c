// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sees all packets of sockets, determines the application protocol of each connection from its first bytes, and calls
 * the parser of the protocol with the bytes in order. Attached only while a probe has a parser (ADR 44).
 */
#include "common/l7.bpf.h"
#include "common/request_rows.bpf.h"
#include "l7_connections.bpf.h"
#include "l7_header.bpf.h"
#include "l7_order.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

char LICENSE[] SEC("license") = "GPL";

/* Parsers by protocol. The kernel requires one array for each hook. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, L7_PROTOCOLS);
	__type(key, __u32);
	__type(value, __u32);
} l7_on_sent SEC(".maps"), l7_on_received SEC(".maps");

/*
 * Whether protocols of TCP connections have parsers that are recognised by their content. User space changes it while
 * the programs run. A variable, so that packets with other ports than that of DNS cost no look-up if only DNS is
 * parsed.
 */
volatile __u32 l7_reads_content = 0;

/*
 * Cuts off what the parser has already seen or does not need.
 * @return whether there is something to parse
 */
static __always_inline bool trim(struct l7_connection *connection, struct l7_stream *stream, struct l7_packet *packet)
{
	__u32 end = packet->seq + packet->length, seen;

	if (!stream->is_known) {
		stream->is_known = 1;
		stream->next = packet->seq;
	}
	if ((__s32)(end - stream->next) <= 0)
		return false;
	seen = stream->next - packet->seq;
	if ((__s32)seen < 0) {
		packet->marks |= L7_GAP;
		count(connection, COUNT_GAPS);
		seen = 0;
	}
	packet->offset += seen;
	packet->length -= seen;
	packet->seq += seen;
	stream->next = end;
	return true;
}

/* Returns whether the kernel, too, still waits for bytes before this segment. */
static __always_inline bool is_ahead(struct bpf_sock *sk, const struct l7_stream *stream,
				     const struct l7_packet *packet)
{
	struct bpf_tcp_sock *tcp;

	if (!stream->is_known || (__s32)(packet->seq - stream->next) <= 0)
		return false;
	tcp = bpf_tcp_sock(sk);
	return tcp && (__s32)(tcp->rcv_nxt - stream->next) <= 0;
}

/*
 * Passes the packet to the parser of the connection's protocol.
 * @param is_again whether kept segments have been tried
 */
static __always_inline int parse(struct __sk_buff *skb, struct bpf_sock *sk, const struct l7_wanted *wanted,
				 struct l7_connection *connection, struct l7_packet *packet, bool is_egress,
				 bool is_again)
{
	struct l7_stream *stream = l7_stream_of(connection, is_egress ? L7_SENT : L7_RECEIVED);
	__u32 protocol = connection->protocol;

	packet->marks = connection->marks & L7_LATE;
	if (!is_egress)
		packet->marks |= L7_IS_RECEIVED;
	if (packet->length) {
		if (!is_egress && is_ahead(sk, stream, packet)) {
			bool is_parsed = wanted->protocols >> (protocol & 31) & 1;

			if (!is_parsed || keep_segment(skb, sk, connection, packet) < packet->length)
				count(connection, COUNT_NOT_KEPT);
			else
				count(connection, COUNT_KEPT);
			return 1;
		}
		/* Another CPU has kept segments after this one has looked for them. */
		if (!is_egress && !is_again && connection->kept && (__s32)(packet->seq - stream->next) > 0) {
			connection->marks |= L7_THEN;
			bpf_tail_call(skb, &l7_again_received, 0);
			return 1;
		}
		if (!trim(connection, stream, packet)) {
			packet->length = 0;
			if (!(packet->tcp_flags & (L7_FIN | L7_RST)))
				return 1;
		}
	}
	l7_pass(skb, packet);
	if (is_egress)
		bpf_tail_call(skb, &l7_on_sent, protocol);
	else
		bpf_tail_call(skb, &l7_on_received, protocol);
	return 1;
}

/* Adopts the segment that arrived before the connection's socket existed. Returns whether there is one. */
static __always_inline bool adopt(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_connection *connection,
				  const struct l7_header *header, bool is_egress, bool is_dns)
{
	struct l7_stream *stream = &connection->received;
	struct l7_first first = {};

	if (!adopt_early(skb, sk, connection, header, is_egress, &first))
		return false;
	count(connection, COUNT_EARLY);
	stream->is_known = 1;
	stream->next = first.seq;
	classify(connection, &first, is_dns);
	return true;
}

static __always_inline int handle_tcp(struct __sk_buff *skb, struct l7_header *header, bool is_egress, bool is_dns)
{
	struct l7_packet *packet = &header->packet;
	struct l7_connection *connection;
	const struct l7_wanted *wanted;
	struct l7_first first = {};
	struct bpf_sock *sk;
	__u32 zero = 0;

	if (!packet->length && !(packet->tcp_flags & (L7_FIN | L7_RST)))
		return 1;
	wanted = bpf_map_lookup_elem(&l7_wanted, &zero);
	if (!wanted || (is_dns && !(wanted->protocols & 1U << L7_DNS)))
		return 1;
	sk = l7_socket(skb);
	if (!sk)
		return 1;
	if (sk->state == BPF_TCP_LISTEN) {
		if (!is_egress && packet->length)
			keep_early(skb, sk, header);
		return 1;
	}
	connection = bpf_sk_storage_get(&l7_connections, sk, NULL, 0);
	if (!connection) {
		if (!packet->length)
			return 1;
		connection = new_connection(wanted, sk);
		if (!connection)
			return 1;
		if (adopt(skb, sk, connection, header, is_egress, is_dns)) {
			connection->marks |= L7_THEN;
			if (is_egress)
				bpf_tail_call(skb, &l7_again_sent, 0);
			else
				bpf_tail_call(skb, &l7_again_received, 0);
			return 1;
		}
		if (is_late(sk)) {
			connection->marks |= L7_LATE;
			count(connection, COUNT_LATE);
		}
	}
	if (connection->protocol == L7_OTHER)
		return 1;
	if (connection->protocol == L7_UNKNOWN) {
		if (!packet->length)
			return 1;
		read_first(skb, packet, &first);
		classify(connection, &first, is_dns);
		if (connection->protocol <= L7_OTHER)
			return 1;
	}
	return parse(skb, sk, wanted, connection, packet, is_egress, false);
}

static __always_inline int handle(struct __sk_buff *skb, bool is_egress)
{
	struct l7_header header = {};
	const __u8 *transport = read_ports(skb, &header);
	bool is_dns = header.source == bpf_htons(DNS_PORT) || header.destination == bpf_htons(DNS_PORT);

	if (!transport || (!is_dns && (!header.is_tcp || !l7_reads_content)))
		return 1;
	read_packet(skb, &header, transport);
	if (header.is_tcp)
		return handle_tcp(skb, &header, is_egress, is_dns);
	if (!is_egress)
		header.packet.marks = L7_IS_RECEIVED;
	l7_pass(skb, &header.packet);
	if (is_egress)
		bpf_tail_call(skb, &l7_on_sent, L7_DATAGRAM_DNS);
	else
		bpf_tail_call(skb, &l7_on_received, L7_DATAGRAM_DNS);
	return 1;
}

/* All programs return 1 on every path. Any other value would drop the packet. */
SEC("cgroup_skb/egress")
int l7_sent(struct __sk_buff *skb)
{
	return handle(skb, true);
}

SEC("cgroup_skb/ingress")
int l7_received(struct __sk_buff *skb)
{
	return handle(skb, false);
}

/* Continues after a parser: with the next kept segment or, if there is none, with the packet that had to wait. */
static __always_inline int handle_again(struct __sk_buff *skb, bool is_egress)
{
	struct l7_connection *connection;
	const struct l7_wanted *wanted;
	struct l7_header header = {};
	const __u8 *transport;
	struct bpf_sock *sk;
	__u32 zero = 0;

	sk = l7_socket(skb);
	if (!sk)
		return 1;
	connection = bpf_sk_storage_get(&l7_connections, sk, NULL, 0);
	if (!connection)
		return 1;
	if (connection->kept && next_segment(skb, sk, connection)) {
		__u32 protocol = connection->protocol;

		if (is_egress)
			bpf_tail_call(skb, &l7_on_sent, protocol);
		else
			bpf_tail_call(skb, &l7_on_received, protocol);
		/* There is no parser. */
		drop_passed(skb);
	}
	if (!(connection->marks & L7_THEN))
		return 1;
	connection->marks &= ~L7_THEN;
	wanted = bpf_map_lookup_elem(&l7_wanted, &zero);
	transport = read_ports(skb, &header);
	if (!wanted || connection->protocol <= L7_OTHER || !transport || !header.is_tcp)
		return 1;
	read_packet(skb, &header, transport);
	return parse(skb, sk, wanted, connection, &header.packet, is_egress, true);
}

SEC("cgroup_skb/egress")
int l7_more_sent(struct __sk_buff *skb)
{
	return handle_again(skb, true);
}

SEC("cgroup_skb/ingress")
int l7_more_received(struct __sk_buff *skb)
{
	return handle_again(skb, false);
}

/*
 * Frees the state of a connection when it ends. The kernel would free it with the socket, but would not count that, and
 * a socket can be connected again.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(l7_closed, struct sock *sk, const int old, const int new)
{
	struct l7_connection *connection;
	__u32 owner;

	if (new != BPF_TCP_CLOSE || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	connection = bpf_sk_storage_get(&l7_connections, sk, NULL, 0);
	if (!connection)
		return 0;
	if (connection->kept)
		drop_kept(sk);
	owner = connection->owner;
	if (!bpf_sk_storage_delete(&l7_connections, sk))
		change_live(owner, -1);
	return 0;
}

/*
 * Marks the row of requests with the key in the arguments for deletion. From then on, its requests are counted in the
 * overflow row of the owner. User space deletes the row once no program can still be using it.
 */
SEC("raw_tp/sys_enter")
int request_leave(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key[] = {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[4]};
	struct request_row *row = bpf_map_lookup_elem(&request_rows, key);

	_Static_assert(sizeof(key) == sizeof(struct request_key), "the kernel refuses a run with fewer arguments");
	if (row)
		row->leaving = 1;
	return 0;
}
