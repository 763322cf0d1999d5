// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the requests of HTTP/2 connections, and the calls of gRPC. The programs are parsers of the base in l7.bpf.c,
 * which passes them the bytes of each direction in order and only once.
 */
#include "common/pod_filter.bpf.h"
#include "common/socket_place.bpf.h"
#include "common/tcp_state.bpf.h"
#include "http2_frames.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* Freed with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct http2_connection);
} http2_connections SEC(".maps");

#define HTTP2_PREFACE 24 /* bytes that a client sends before its first frame */

static __always_inline bool http2_has_preface(const struct http2_segment *segment)
{
	__u32 word = 0;

	if (segment->part->end - segment->part->position < sizeof(word) || http2_load(segment, &word, sizeof(word)))
		return false;
	/* The base has compared what the segment has of it. */
	return word == HTTP_WORD('P', 'R', 'I', ' ', 0, 0, 0, 0);
}

static __always_inline void http2_start_direction(struct http2_direction *direction, bool is_late)
{
	direction->cause = is_late ? CAUSE_LATE : CAUSE_NOTHING;
	direction->mode = is_late ? AT_NOWHERE : AT_FRAME;
}

/*
 * The first segment that the base passes on begins with the preface of the client or, if it is late or the server sends
 * first after an upgrade, with a frame.
 */
static __always_inline struct http2_connection *http2_connection_of(struct http2_segment *segment)
{
	struct l7_connection *base = segment->base;
	struct bpf_sock *sk = l7_socket(segment->skb);
	struct http2_connection *connection;
	struct http_connection *first = NULL;
	bool is_client = segment->part->direction == L7_SENT, is_late = false;

	if (!sk)
		return NULL;
	connection = bpf_sk_storage_get(&http2_connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection || connection->is_known)
		return connection;
	connection->netns = base->netns;
	connection->cgroup = base->cgroup;
	connection->unlisted = base->unlisted;
	connection->owner = place_slot(base->netns, base->unlisted);
	connection->cookie = bpf_get_socket_cookie(segment->skb);
	if (base->marks & L7_UPGRADED)
		first = bpf_sk_storage_get(&http_connections, sk, NULL, 0);
	if (first && is_client != (first->role == ROLE_CLIENT)) {
		is_client = !is_client;
		l7_stream_of(base, !segment->part->direction)->next += HTTP2_PREFACE;
	} else {
		is_late = !first && !http2_has_preface(segment);
		if (is_late)
			is_client = is_client == !!(base->marks & L7_REQUEST);
		else
			http2_skip(segment, HTTP2_PREFACE);
	}
	connection->role = is_client ? ROLE_CLIENT : ROLE_SERVER;
	request_key_of(&connection->edge, base, sk, connection->role, L7_HTTP2);
	connection->is_unsure = is_late;
	http2_start_direction(&connection->requests, is_late);
	http2_start_direction(&connection->responses, is_late);
	if (events_enabled)
		http2_read_ends(connection, (__u64)plain_address(sk));
	if (first)
		http2_take_upgraded(connection, first);
	connection->is_known = 1;
	return connection;
}

/* Cuts off what has been skipped since the base has passed the segment on. Returns whether anything is left. */
static __always_inline bool http2_cut(struct http2_segment *segment, const struct http_turn *turn)
{
	__u32 seen = turn->next - segment->part->seq;

	if (!turn->is_placed || (__s32)seen <= 0)
		return true;
	if (seen >= segment->part->end - segment->part->start)
		return false;
	segment->part->position = segment->part->start + seen;
	return true;
}

static __always_inline void http2_read(struct http2_segment *segment)
{
	struct http2_direction *direction = http2_direction_of(segment->connection, segment->part->is_response);
	struct l7_stream *base = l7_stream_of(segment->base, segment->part->direction);
	struct http_turn *turn = &direction->turn;
	long steps;

	if (!http_enter(segment->part->seq, turn, segment->part->marks))
		return;
	/* In a map, where the verifier does not follow its values from step to step. */
	direction->part = *segment->part;
	segment->part = &direction->part;
	if (http2_cut(segment, turn)) {
		if (turn->is_placed && (__s32)(segment->part->seq - turn->next) > 0) {
			http2_lose(segment->connection, segment->part->is_response,
				   segment->part->marks & L7_GAP ? CAUSE_REORDERED : CAUSE_BUSY);
		}
		if (direction->mode != AT_NOWHERE || http2_find_frame(segment, direction)) {
			steps = bpf_loop(HTTP2_STEPS_MAX, http2_step, segment, 0);
			if (steps >= HTTP2_STEPS_MAX)
				http2_lose(segment->connection, segment->part->is_response, CAUSE_LIMIT);
		}
		turn->next = segment->part->seq + (segment->part->end - segment->part->start) + segment->part->beyond;
		turn->is_placed = 1;
		if (segment->part->beyond)
			base->next = turn->next;
	}
	http_leave(turn);
}

static __always_inline int http2_take(struct __sk_buff *skb, bool is_egress)
{
	struct l7_packet packet = {};
	struct l7_connection *base = l7_take(skb, &packet);
	struct http2_part part = {
		.start = packet.offset,
		.position = packet.offset,
		.end = packet.offset + packet.length,
		.seq = packet.seq,
		.direction = l7_direction_of(&packet),
		.marks = packet.marks,
	};
	struct http2_segment segment = {.skb = skb, .base = base, .part = &part};

	if (!base)
		return 1;
	if (!packet.length || !passes_pod_filter(base->netns))
		return l7_finish(skb, base, is_egress);
	if (packet.marks & L7_IS_KEPT) {
		segment.kept = l7_take_segment(skb, &packet);
		if (!segment.kept)
			return l7_finish(skb, base, is_egress);
	}
	segment.connection = http2_connection_of(&segment);
	if (!segment.connection) {
		count_miss(untracked);
		return l7_finish(skb, base, is_egress);
	}
	part.is_response = (segment.connection->role == ROLE_CLIENT) != (part.direction == L7_SENT);
	/* A request is measured from its arrival, even if it had to wait. */
	part.now = segment.kept && !part.is_response ? segment.kept->time : bpf_ktime_get_ns();
	http2_read(&segment);
	return l7_finish(skb, base, is_egress);
}

SEC("cgroup_skb/egress")
int http2_sent(struct __sk_buff *skb)
{
	return http2_take(skb, true);
}

SEC("cgroup_skb/ingress")
int http2_received(struct __sk_buff *skb)
{
	return http2_take(skb, false);
}

/* Ends the streams that are open when a connection ends. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(http2_closed, struct sock *sk, int old, int new)
{
	struct http2_connection *connection;

	if (new != STATE_CLOSE)
		return 0;
	connection = bpf_sk_storage_get(&http2_connections, sk, NULL, 0);
	if (!connection)
		return 0;
	if (connection->responses.mode == AT_NOWHERE)
		http2_end_all(connection, 0, END_UNKNOWN, connection->responses.cause);
	else
		http2_end_all(connection, 0, END_NONE, CAUSE_NOTHING);
	/* The socket may be connected again. */
	bpf_sk_storage_delete(&http2_connections, sk);
	return 0;
}
