// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/events.bpf.h"
#include "common/tuple.bpf.h"
#include "http_rows.bpf.h"
#include "http_trace.bpf.h"
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Reports single requests to user space: failed and slow ones as events, and those that rules select as records. */
enum http_consumer {
	CONSUMER_EVENT = 1,
	CONSUMER_RECORD = 2,
	CONSUMER_DRAWN = 4, /* the record was selected at random */
};

SHARED_ENUM(http_consumer);

/* Kinds of the line in a report. */
enum http_line_form {
	LINE_NONE, /* it is not known */
	LINE_REQUEST, /* first bytes of the request, which may be more than a line */
	LINE_PATH,
	LINE_HUFFMAN, /* the path in the Huffman code of HTTP/2 */
};

SHARED_ENUM(http_line_form);

struct http_event {
	__u64 time;
	__u64 netns, cgroup;
	__u64 duration; /* nanoseconds */
	__u64 server_duration; /* the same at the server, in a report of the client; 0 if unknown */
	struct packet_tuple tuple; /* from the client to the server */
	struct http_detail detail; /* or a struct grpc_detail */
	__u16 status; /* of a call of gRPC that was answered */
	__u8 method; /* enum http_method, of a call of gRPC */
	__u8 consumers;
	__u8 line_form; /* enum http_line_form */
	__u8 line_bytes; /* of a path */
	__u8 is_line_cut; /* the end of the path is missing */
	__u8 has_trace;
	__u8 end; /* enum http2_end, of a request of HTTP/2 */
	__u8 spare[7];
	struct http_trace trace;
	__u8 line[HTTP_WINDOW];
};

EVENT_RECORD(http_event);
EVENT_RECORD(packet_tuple);
EVENT_RECORD(http_trace);

const volatile bool reports_events = false;
SETTING bool reports_records = false;
SETTING __u64 slow_nanoseconds = 0; /* requests that take longer are events; 0 for none */
SETTING bool record_failed = false;
SETTING __u64 record_nanoseconds = 0; /* requests that take at least as long are records; 0 for none */
SETTING __u64 record_sample = 0; /* share of the other requests, in units of 2^-32 */
SETTING __u64 record_rate = 0; /* records per second per owner; also the capacity of a bucket */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_ledger);
} http_record_ledgers SEC(".maps");

/* Buckets of records by slot. Records do not use up the limit of events. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct event_bucket);
} http_record_buckets SEC(".maps");

/*
 * Latest responses of the servers on this node. The client of a request finds the time that its server took, because
 * both ends know the sequence number of the response and the client's port, also if addresses are translated. A row may
 * be overwritten before that. Two CPUs may write a row at the same time, so its first word is combined with the second
 * one: a mix of two rows belongs to no response.
 */
#define HTTP_RECENT 4096

struct http_recent {
	__u64 mixed; /* identity of the response ^ duration */
	__u64 duration; /* nanoseconds */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HTTP_RECENT);
	__type(key, __u32);
	__type(value, struct http_recent);
} http_recent SEC(".maps");

static __always_inline __u64 http_mix(__u64 number)
{
	number *= 0x9e3779b97f4a7c15ULL;
	return number ^ number >> 32;
}

static __always_inline struct http_recent *http_recent_of(__u64 response)
{
	__u32 index = http_mix(response) % HTTP_RECENT;

	return bpf_map_lookup_elem(&http_recent, &index);
}

static __always_inline bool http_is_failure(__u16 status)
{
	return status >= 500 || status == OUTCOME_NONE;
}

/* Returns to whom a request is reported. @param response_seq sequence number of the response; 0 if there is none */
static __always_inline __u8 http_consumers_of(bool is_failure, __u64 duration, __u32 response_seq)
{
	__u64 slow = slow_nanoseconds, slow_record = record_nanoseconds;
	__u8 consumers = 0;

	if (reports_events && (is_failure || (slow && duration > slow)))
		consumers |= CONSUMER_EVENT;
	if (!reports_records)
		return consumers;
	if ((record_failed && is_failure) || (slow_record && duration >= slow_record))
		return consumers | CONSUMER_RECORD;
	/* The draw depends on the response, so both ends draw the same requests. */
	if (response_seq && (__u32)http_mix(response_seq) < record_sample)
		return consumers | CONSUMER_RECORD | CONSUMER_DRAWN;
	return consumers;
}

/* Charges a report to a bucket of its owner, and returns whether it is within its limits. */
static __always_inline bool http_take_report(struct event_ledger *ledger, struct event_bucket *bucket, __u64 rate,
					     __u64 share)
{
	if (!ledger || !bucket)
		return false;
	__sync_fetch_and_add(&ledger->produced, 1);
	if (event_take_token(bucket, rate) && event_take_bytes(bucket, sizeof(struct http_event), share))
		return true;
	__sync_fetch_and_add(&ledger->limited, 1);
	return false;
}

/* Returns the consumers whose limits allow a report. */
static __always_inline __u8 http_allowed_of(__u32 slot, __u8 consumers)
{
	__u32 zero = 0;

	if (consumers & CONSUMER_EVENT &&
	    !http_take_report(bpf_map_lookup_elem(&event_ledgers, &zero), bpf_map_lookup_elem(&event_buckets, &slot),
			      event_rate, ring_share / 4))
		consumers &= ~CONSUMER_EVENT;
	if (reports_records && consumers & CONSUMER_RECORD &&
	    !http_take_report(bpf_map_lookup_elem(&http_record_ledgers, &zero),
			      bpf_map_lookup_elem(&http_record_buckets, &slot), record_rate, ring_share / 4 * 3))
		consumers &= ~(CONSUMER_RECORD | CONSUMER_DRAWN);
	return consumers;
}

static __always_inline void http_count_lost(__u8 consumers)
{
	__u32 zero = 0;
	struct event_ledger *ledger = bpf_map_lookup_elem(&event_ledgers, &zero);

	if (ledger && consumers & CONSUMER_EVENT)
		__sync_fetch_and_add(&ledger->lost, 1);
	if (!reports_records || !(consumers & CONSUMER_RECORD))
		return;
	ledger = bpf_map_lookup_elem(&http_record_ledgers, &zero);
	if (ledger)
		__sync_fetch_and_add(&ledger->lost, 1);
}

/* Identifies a response at both ends of its connection. @param seq sequence number of its first byte */
static __always_inline __u64 http_response_id(__u32 seq, __u16 client_port)
{
	return (__u64)seq << 32 | (__u32)client_port << 16 | 1;
}

/* Remembers the time that a server took. */
static __always_inline void http_remember(__u64 response, __u64 duration)
{
	struct http_recent *recent = http_recent_of(response);

	if (!recent)
		return;
	recent->mixed = response ^ duration;
	recent->duration = duration;
}

/* Returns the time that the server took; 0 if it is not known. */
static __always_inline __u64 http_recall(__u64 response)
{
	struct http_recent *recent = http_recent_of(response);
	__u64 duration;

	if (!recent)
		return 0;
	duration = *(volatile __u64 *)&recent->duration;
	return (*(volatile __u64 *)&recent->mixed ^ duration) == response ? duration : 0;
}

/*
 * Reserves a report and fills the fields that do not depend on the version of HTTP. Returns NULL if it is refused.
 * @param slot whose limits apply
 */
static __always_inline struct http_event *http_start_report(const struct request_key *edge, __u32 slot, __u8 consumers)
{
	struct http_event *event;

	consumers = http_allowed_of(slot, consumers);
	if (!consumers)
		return NULL;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		http_count_lost(consumers);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->netns = edge->netns;
	event->cgroup = edge->cgroup;
	event->consumers = consumers;
	return event;
}
