// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the requests of HTTP/1.x connections and measures the time to their responses. The programs are parsers of
 * the base in l7.bpf.c, which passes them the bytes of each direction in order and only once.
 */
#include "common/pod_filter.bpf.h"
#include "http_window.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* Returns whether the segment begins with a response. */
static __always_inline bool http_begins_response(const struct http_segment *segment)
{
	__u64 word = 0;

	if (segment->part->end - segment->part->start < sizeof(word) || http_load(segment, &word, sizeof(word)))
		return false;
	return (word & HTTP_BYTES(5)) == HTTP_WORD('H', 'T', 'T', 'P', '/', 0, 0, 0);
}

/*
 * The first segment that the base passes on begins with a request, whose sender is the client, or with a response to a
 * request that was sent before.
 */
static __always_inline struct http_connection *http_connection_of(const struct http_segment *segment)
{
	struct l7_connection *base = segment->base;
	struct bpf_sock *sk = l7_socket(segment->skb);
	struct http_connection *connection;

	if (!sk)
		return NULL;
	connection = bpf_sk_storage_get(&http_connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection || connection->is_known)
		return connection;
	connection->netns = base->netns;
	connection->cgroup = base->cgroup;
	connection->unlisted = base->unlisted;
	connection->role =
		(segment->part->direction == L7_SENT) != http_begins_response(segment) ? ROLE_CLIENT : ROLE_SERVER;
	request_key_of(&connection->edge, base, sk, connection->role, L7_HTTP1);
	connection->is_late = base->marks & L7_LATE;
	/* There is no response before the first request. */
	connection->responses.mode = MODE_LOST;
	connection->responses.cause = CAUSE_LATE;
	connection->is_known = 1;
	return connection;
}

/* Returns whether the segment begins with a request. */
static __always_inline bool http_begins_request(const struct http_segment *segment)
{
	__u64 word = 0;

	if (segment->part->end - segment->part->position < sizeof(word) || http_load(segment, &word, sizeof(word)))
		return false;
	return http_method_of(word) != METHOD_NONE;
}

/* Brings the stream to the start of the segment. Returns false if nothing in the segment is to be read. */
static __always_inline bool http_resume(struct http_segment *segment, struct http_stream *stream, __u8 cause)
{
	if (stream->mode == MODE_TO_END || stream->mode == MODE_UNTIL_REQUEST ||
	    (stream->mode == MODE_LOST && segment->part->is_response)) {
		http_skip_far(segment, stream, stream->mode);
		return false;
	}
	/* At its first segment, a late connection has a gap that concerns no request. */
	if (cause && stream->mode != MODE_LOST && segment->connection->asked) {
		http_lose(segment, stream, cause);
		if (segment->part->is_response)
			return false;
		segment->part->position = segment->part->start;
	}
	if (stream->mode == MODE_LOST) {
		if (!http_begins_request(segment))
			return false;
		http_start_message(stream);
	} else if (stream->mode == MODE_BODY) {
		stream->mode = stream->body == BODY_CHUNKED ? MODE_CHUNK : MODE_START;
		if (stream->rest)
			http_skip(segment, stream, stream->rest);
	}
	return true;
}

#define HTTP_STATUS_LENGTH 12 /* bytes of `HTTP/1.1 200` */

/*
 * Reads a response of which only the status matters, because its end is known from the next request. Returns false if
 * more has to be read.
 */
static __always_inline bool http_read_status(struct http_segment *segment, struct http_stream *stream)
{
	if (!segment->part->is_response || segment->connection->is_pipelined || stream->mode != MODE_START ||
	    stream->kept || segment->part->end - segment->part->position < HTTP_STATUS_LENGTH ||
	    http_load(segment, stream->line, HTTP_STATUS_LENGTH))
		return false;
	if (http_status_of(http_word(stream->line), http_word(stream->line + 8)) < 200)
		return false;
	http_start_response(segment, stream);
	return true;
}

/* Cuts off what has been skipped since the base has passed the segment on. Returns whether anything is left. */
static __always_inline bool http_cut(struct http_segment *segment, const struct http_turn *turn)
{
	__u32 seen = turn->next - segment->part->seq;

	if (!turn->is_placed || (__s32)seen <= 0)
		return true;
	if (seen >= segment->part->end - segment->part->start)
		return false;
	segment->part->start += seen;
	segment->part->position = segment->part->start;
	segment->part->seq += seen;
	return true;
}

static __always_inline void http_read(struct http_segment *segment)
{
	struct http_stream *stream = http_stream_of(segment);
	struct http_turn *turn = &stream->turn;
	__u32 end;
	__u8 cause = CAUSE_NOTHING;
	long windows;

	if (!http_enter(segment->part->seq, turn, segment->part->marks))
		return;
	if (http_cut(segment, turn)) {
		if (turn->is_placed && turn->next != segment->part->seq)
			cause = segment->part->marks & L7_GAP ? CAUSE_REORDERED : CAUSE_BUSY;
		if (http_resume(segment, stream, cause) && !http_read_status(segment, stream)) {
			/* The first window often has everything. */
			if (!http_read_window(segment->skb, segment->part, segment->connection, segment->base,
					      segment->kept)) {
				windows = bpf_loop(HTTP_LINES_MAX, http_read_next, segment, 0);
				if (windows >= HTTP_LINES_MAX)
					http_lose(segment, stream, CAUSE_LIMIT);
			}
		}
		end = http_end_seq(segment->part);
		if (!turn->is_placed || (__s32)(end - turn->next) > 0) {
			turn->next = end;
			turn->is_placed = 1;
		}
	}
	http_leave(turn);
}

/* The server has sent a FIN behind all of its data, so open requests will not be answered. */
static __always_inline void http_end_responses(const struct http_segment *segment)
{
	struct bpf_sock *typed = segment->skb->sk;

	if (segment->connection->responses.turn.next == http_end_seq(segment->part) && typed)
		http_end_open(segment->connection, OUTCOME_NONE, CAUSE_NOTHING, (__u64)plain_address(typed));
}

static __always_inline int http_take(struct __sk_buff *skb, bool is_egress)
{
	struct l7_packet packet = {};
	struct l7_connection *base = l7_take(skb, &packet);
	struct http_part part = {
		.start = packet.offset,
		.position = packet.offset,
		.end = packet.offset + packet.length,
		.seq = packet.seq,
		.ack = packet.ack,
		.direction = l7_direction_of(&packet),
		.marks = packet.marks,
		.tcp_flags = packet.tcp_flags,
	};
	struct http_segment segment = {.skb = skb, .part = &part, .base = base};

	if (!base)
		return 1;
	if (!passes_pod_filter(base->netns))
		return l7_finish(skb, base, is_egress);
	if (packet.marks & L7_IS_KEPT) {
		segment.kept = l7_take_segment(skb, &packet);
		if (!segment.kept)
			return l7_finish(skb, base, is_egress);
	}
	segment.connection = http_connection_of(&segment);
	if (!segment.connection) {
		count_miss(untracked);
		return l7_finish(skb, base, is_egress);
	}
	part.is_response = (segment.connection->role == ROLE_CLIENT) != (part.direction == L7_SENT);
	/* A request is measured from its arrival, even if it had to wait. */
	part.now = segment.kept && !part.is_response ? segment.kept->time : bpf_ktime_get_ns();
	if (packet.length)
		http_read(&segment);
	if (part.is_response && part.tcp_flags & L7_FIN && http_has_open(segment.connection))
		http_end_responses(&segment);
	return l7_finish(skb, base, is_egress);
}

SEC("cgroup_skb/egress")
int http1_sent(struct __sk_buff *skb)
{
	return http_take(skb, true);
}

SEC("cgroup_skb/ingress")
int http1_received(struct __sk_buff *skb)
{
	return http_take(skb, false);
}

/* Ends the requests that are open when a connection ends. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(http_closed, struct sock *sk, int old, int new)
{
	struct http_connection *connection;

	if (new != STATE_CLOSE)
		return 0;
	connection = bpf_sk_storage_get(&http_connections, sk, NULL, 0);
	if (!connection)
		return 0;
	if (connection->responses.mode == MODE_LOST)
		http_end_open(connection, OUTCOME_UNKNOWN, connection->responses.cause, 0);
	else
		http_end_open(connection, OUTCOME_NONE, CAUSE_NOTHING, (__u64)plain_address(sk));
	/* The socket may be connected again. */
	bpf_sk_storage_delete(&http_connections, sk);
	return 0;
}
