// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Settings of the programs that count closed TCP sockets, and reports about individual sockets to user space. */
#include "common/events.bpf.h"
#include "common/flow_rows.bpf.h"
#include "common/socket.bpf.h"
#include "common/tuple.bpf.h"

/* Features that the probes currently need. User space changes these values while the programs are running. */
struct tcp_ends_wanted {
	__u32 rows;
	__u32 listens; /* whether to count drops of listening sockets */
	__u32 connects; /* whether to count failures and measure connect times */
	__u32 round_trips;
	/* Whether to report these closed sockets individually. */
	__u32 failures; /* as events: connections that were not established or that timed out */
	__u32 degraded; /* as events: connections that exceed one of the thresholds */
	__u32 failed_records;
	__u32 all_records;
	__u32 starts; /* whether to record the times at which connections are established */
	/* Maximum number of reported sockets per second per owner, for each consumer. */
	__u32 failure_rate;
	__u32 degraded_rate;
	__u32 record_rate;
	/* Thresholds of degraded connections; 0 disables a threshold. */
	__u32 retransmitted_permille; /* share of sent segments */
	__u32 receiver_limited_permille; /* share of the time during which there was data to send */
	__u32 round_trip; /* microseconds */
	__u32 segments_min; /* the thresholds apply only from this number of sent segments on */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tcp_ends_wanted);
} tcp_ends_wanted SEC(".maps");

/* Consumers to which a socket is reported, as bits. */
enum end_consumer {
	CONSUMER_FAILURE = 1,
	CONSUMER_DEGRADED = 2,
	CONSUMER_RECORD = 4,
};

SHARED_ENUM(end_consumer);

#define CONSUMERS 3
#define RECEIVER_FAILURE 0 /* bit numbers of the consumers */
#define RECEIVER_DEGRADED 1
#define RECEIVER_RECORD 2

/* Ledgers of the reports, indexed by the bit number of the consumer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CONSUMERS);
	__type(key, __u32);
	__type(value, struct event_ledger);
} end_ledgers SEC(".maps");

/*
 * Rate limits, indexed by slot * CONSUMERS + the bit number of the consumer. A consumer with too many reports does not
 * affect the others.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS *CONSUMERS);
	__type(key, __u32);
	__type(value, struct event_bucket);
} end_buckets SEC(".maps");

struct tcp_end_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 started; /* bpf_ktime_get_ns() when the connection was established; 0 if unknown */
	__u64 netns;
	__u64 cgroup; /* same as in struct flow_key */
	__u64 counts[FLOW_FIELDS];
	struct packet_tuple tuple; /* the source is the local end */
	__u32 connect; /* microseconds until the connection failed; 0 if unknown */
	__u32 round_trip; /* microseconds, measured until the socket left the state ESTABLISHED; 0 if not measured */
	__u32 round_trip_min; /* microseconds; 0 if not measured */
	__u8 role;
	__u8 state; /* state before the socket was closed */
	__u8 end;
	__u8 consumers;
};

EVENT_RECORD(tcp_end_event);
EVENT_RECORD(packet_tuple);

/*
 * Times at which connections were established, from bpf_ktime_get_ns(). The socket itself does not retain this time.
 * Storing it is optional because it takes longer than everything else that is done when a connection is established.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} connection_starts SEC(".maps");

static __always_inline const struct tcp_ends_wanted *wanted_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tcp_ends_wanted, &zero);
}

/* Returns the microseconds since the first SYN; 0 if the socket does not contain its time. */
static __always_inline __u32 since_first_syn(const struct tcp_sock *tcp)
{
	__u64 now = bpf_ktime_get_ns() / 1000;

	if (!tcp->retrans_stamp)
		return 0;
	if (bpf_core_field_exists(tcp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD(tcp, tcp_usec_ts))
		return (__u32)now - tcp->retrans_stamp;
	return ((__u32)(now / 1000) - tcp->retrans_stamp) * 1000;
}

/* Counts of a closed socket. */
struct end_counts {
	__u64 fields[FLOW_FIELDS];
};

static __always_inline bool is_degraded(const struct tcp_ends_wanted *wanted, const __u64 *counts, __u32 round_trip)
{
	__u64 active = counts[FIELD_BUSY] + counts[FIELD_RECEIVER_LIMITED] + counts[FIELD_SEND_BUFFER_LIMITED];

	if (!counts[FIELD_CONNECTIONS] || counts[FIELD_SENT_SEGMENTS] < wanted->segments_min)
		return false;
	if (wanted->retransmitted_permille &&
	    counts[FIELD_RETRANSMITTED_SEGMENTS] * 1000 >= counts[FIELD_SENT_SEGMENTS] * wanted->retransmitted_permille)
		return true;
	if (wanted->receiver_limited_permille && active &&
	    counts[FIELD_RECEIVER_LIMITED] * 1000 >= active * wanted->receiver_limited_permille)
		return true;
	return wanted->round_trip && round_trip >= wanted->round_trip;
}

/*
 * Returns the consumers to which a closed socket is reported. A global function, like others below, so that the
 * verifier checks it once instead of following each combination of its paths with those of its callers.
 */
__noinline int consumers_of(const struct tcp_ends_wanted *wanted, const struct end_counts *counts, __u32 round_trip,
			    __u32 end)
{
	bool failed = end >= FIRST_FAILURE || end == END_TIMEOUT;
	__u8 consumers = 0;

	if (!wanted || !counts)
		return 0;
	if (wanted->failures && failed)
		consumers |= CONSUMER_FAILURE;
	if (wanted->degraded && is_degraded(wanted, counts->fields, round_trip))
		consumers |= CONSUMER_DEGRADED;
	if (wanted->all_records || (wanted->failed_records && (failed || end == END_RESET_BY_PEER || end == END_OTHER)))
		consumers |= CONSUMER_RECORD;
	return consumers;
}

/*
 * Returns the ledger of a consumer; NULL if the socket is not reported to this consumer. The callers do not use a loop:
 * before 6.2, the verifier cannot prove that a loop ends if its counter is in memory because it is used as a map key.
 */
static __always_inline struct event_ledger *end_ledger(__u8 consumers, __u32 receiver)
{
	return consumers >> receiver & 1 ? bpf_map_lookup_elem(&end_ledgers, &receiver) : NULL;
}

static __always_inline void count_lost_of(__u8 consumers, __u32 receiver)
{
	struct event_ledger *ledger = end_ledger(consumers, receiver);

	if (ledger)
		__sync_fetch_and_add(&ledger->lost, 1);
}

/* Counts a report as lost because the ring buffer was full. */
__noinline int count_lost(__u32 consumers)
{
	count_lost_of(consumers, RECEIVER_FAILURE);
	count_lost_of(consumers, RECEIVER_DEGRADED);
	count_lost_of(consumers, RECEIVER_RECORD);
	return 0;
}

/*
 * Charges a report to the owner's limits for a consumer; returns whether the limits allow it. A global function, so
 * that the verifier checks it only once. Records may use three quarters of the owner's share of the ring buffer because
 * they are far more frequent than events.
 */
__noinline int take_report(__u32 slot, __u32 receiver, __u32 rate)
{
	__u64 share = receiver == RECEIVER_RECORD ? ring_share / 4 * 3 : ring_share / 8;
	__u32 index = slot * CONSUMERS + receiver;
	struct event_ledger *ledger = bpf_map_lookup_elem(&end_ledgers, &receiver);
	struct event_bucket *bucket = bpf_map_lookup_elem(&end_buckets, &index);

	if (!ledger || !bucket)
		return 0;
	__sync_fetch_and_add(&ledger->produced, 1);
	if (event_take_token(bucket, rate) && event_take_bytes(bucket, sizeof(struct tcp_end_event), share))
		return 1;
	__sync_fetch_and_add(&ledger->limited, 1);
	return 0;
}

/* Returns the consumers whose limits allow a report. @param address address of the socket */
__noinline int allowed_of(const struct tcp_ends_wanted *wanted, __u64 netns, __u64 address, __u32 consumers)
{
	__u8 allowed = 0;
	__u32 slot;

	if (!wanted)
		return 0;
	slot = owner_slot(netns, (struct netns_clue){.sk = (const void *)address});
	if (consumers & CONSUMER_FAILURE && take_report(slot, RECEIVER_FAILURE, wanted->failure_rate))
		allowed |= CONSUMER_FAILURE;
	if (consumers & CONSUMER_DEGRADED && take_report(slot, RECEIVER_DEGRADED, wanted->degraded_rate))
		allowed |= CONSUMER_DEGRADED;
	if (consumers & CONSUMER_RECORD && take_report(slot, RECEIVER_RECORD, wanted->record_rate))
		allowed |= CONSUMER_RECORD;
	return allowed;
}

/* Stores the time at which a connection was established. If memory is short, the time remains unknown. */
static __always_inline void store_start(const struct sock *sk)
{
	__u64 *start = bpf_sk_storage_get(&connection_starts, (void *)sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (start)
		*start = bpf_ktime_get_ns();
}

static __always_inline __u64 start_of(const struct sock *sk)
{
	__u64 *start = bpf_sk_storage_get(&connection_starts, (void *)sk, NULL, 0);

	return start ? *start : 0;
}

/* @param round_trip microseconds; 0 if it was not measured */
static __always_inline void report_end(const struct tcp_ends_wanted *wanted, const struct sock *sk,
				       const struct tcp_sock *tcp, __u64 address, const struct flow_key *key,
				       const struct end_counts *counts, __u32 round_trip, int old, __u8 end)
{
	__u8 consumers = consumers_of(wanted, counts, round_trip, end);
	struct tcp_end_event *event;

	if (consumers)
		consumers = allowed_of(wanted, key->netns, address, consumers);
	if (!consumers)
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_lost(consumers);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->started = wanted->starts ? start_of(sk) : 0;
	event->netns = key->netns;
	event->cgroup = key->cgroup;
	__builtin_memcpy(event->counts, counts->fields, sizeof(event->counts));
	socket_read_tuple(&event->tuple, sk);
	event->connect = old == STATE_SYN_SENT ? since_first_syn(tcp) : 0;
	event->round_trip = round_trip;
	event->round_trip_min = round_trip ? BPF_CORE_READ(tcp, rtt_min.s[0].v) : 0;
	event->role = key->role;
	event->state = old;
	event->end = end;
	event->consumers = consumers;
	event_submit(event);
}
