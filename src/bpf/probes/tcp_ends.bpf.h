// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Settings of the programs that count closed TCP sockets, and reports of single sockets to user space. */
#include "common/events.bpf.h"
#include "common/flow_rows.bpf.h"
#include "common/socket.bpf.h"
#include "common/tuple.bpf.h"

/* Parts that the probes currently need. User space changes these values while the programs run. */
struct tcp_ends_wanted {
	__u32 rows;
	__u32 listens; /* rows of listening sockets */
	__u32 connects; /* counts of failures, and connection times */
	__u32 round_trips;
	/* Whether to report closed sockets, by reason and consumer. */
	__u32 failures; /* as events: connections that were not established or that timed out */
	__u32 degraded; /* as events: connections that exceed one of the thresholds */
	__u32 failed_records;
	__u32 all_records;
	__u32 rate; /* maximum number of reported sockets per second and owner */
	/* Thresholds; 0 for none. */
	__u32 retransmitted_permille; /* of the sent segments */
	__u32 receiver_limited_permille; /* of the time during which there was data to send */
	__u32 round_trip; /* microseconds */
	__u32 segments_min; /* minimum number of sent segments for the thresholds to apply */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tcp_ends_wanted);
} tcp_ends_wanted SEC(".maps");

/* Consumers of a reported socket, as bits. */
enum end_consumer {
	CONSUMER_FAILURE = 1,
	CONSUMER_DEGRADED = 2,
	CONSUMER_RECORD = 4,
};

SHARED_ENUM(end_consumer);

#define CONSUMERS 3

/* Counts of reported sockets, by the bit number of the consumer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CONSUMERS);
	__type(key, __u32);
	__type(value, struct event_ledger);
} end_ledgers SEC(".maps");

struct tcp_end_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 cgroup; /* ID in the v2 hierarchy; 0 if the socket has none */
	__u64 counts[FLOW_FIELDS];
	struct packet_tuple tuple; /* the source is this end */
	__u32 connect; /* microseconds until the connection failed; 0 if unknown */
	__u32 round_trip, round_trip_min; /* microseconds; 0 if not measured */
	__u8 role;
	__u8 state; /* state before the socket was closed */
	__u8 end;
	__u8 consumers;
};

EVENT_RECORD(tcp_end_event);
EVENT_RECORD(packet_tuple);

static __always_inline const struct tcp_ends_wanted *wanted_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tcp_ends_wanted, &zero);
}

/* Returns the microseconds since the first SYN; 0 if the socket has not stored its time. */
static __always_inline __u32 since_first_syn(const struct tcp_sock *tcp)
{
	__u64 now = bpf_ktime_get_ns() / 1000;

	if (!tcp->retrans_stamp)
		return 0;
	if (bpf_core_field_exists(tcp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD(tcp, tcp_usec_ts))
		return (__u32)now - tcp->retrans_stamp;
	return ((__u32)(now / 1000) - tcp->retrans_stamp) * 1000;
}

static __always_inline bool is_degraded(const struct tcp_ends_wanted *wanted, const struct tcp_sock *tcp,
					const __u64 *counts, __u32 round_trip)
{
	__u64 active = counts[FIELD_BUSY] + counts[FIELD_RECEIVER_LIMITED] + counts[FIELD_SEND_BUFFER_LIMITED];

	if (!counts[FIELD_CONNECTIONS] || tcp->segs_out < wanted->segments_min)
		return false;
	if (wanted->retransmitted_permille &&
	    tcp->total_retrans * 1000ULL >= (__u64)tcp->segs_out * wanted->retransmitted_permille)
		return true;
	if (wanted->receiver_limited_permille && active &&
	    counts[FIELD_RECEIVER_LIMITED] * 1000 >= active * wanted->receiver_limited_permille)
		return true;
	return wanted->round_trip && round_trip >= wanted->round_trip;
}

/* Returns the consumers to which a closed socket is reported. */
static __always_inline __u8 consumers_of(const struct tcp_ends_wanted *wanted, const struct tcp_sock *tcp,
					 const __u64 *counts, __u8 end)
{
	bool failed = end >= FIRST_FAILURE || end == END_TIMEOUT;
	__u8 consumers = 0;

	if (wanted->failures && failed)
		consumers |= CONSUMER_FAILURE;
	if (wanted->degraded && is_degraded(wanted, tcp, counts, tcp->srtt_us >> 3))
		consumers |= CONSUMER_DEGRADED;
	if (wanted->all_records || (wanted->failed_records && (failed || end == END_RESET_BY_PEER || end == END_OTHER)))
		consumers |= CONSUMER_RECORD;
	return consumers;
}

/*
 * Returns the ledger of a consumer; NULL if the socket is not reported to it. The calls are not in a loop because
 * before 6.2 the verifier cannot prove that a loop ends if its counter is in memory as a map key.
 */
static __always_inline struct event_ledger *end_ledger(__u8 consumers, __u32 receiver)
{
	return consumers >> receiver & 1 ? bpf_map_lookup_elem(&end_ledgers, &receiver) : NULL;
}

#define count_end_of(consumers, receiver, field)                                \
	do {                                                                    \
		struct event_ledger *ledger_ = end_ledger(consumers, receiver); \
		if (ledger_)                                                    \
			__sync_fetch_and_add(&ledger_->field, 1);               \
	} while (0)

#define count_end(consumers, field)                \
	do {                                       \
		count_end_of(consumers, 0, field); \
		count_end_of(consumers, 1, field); \
		count_end_of(consumers, 2, field); \
	} while (0)

static __always_inline struct tcp_end_event *reserve_end(__u64 netns, struct netns_clue clue, __u8 consumers,
							 __u32 rate)
{
	__u32 slot = owner_slot(netns, clue);
	struct event_bucket *bucket = bpf_map_lookup_elem(&event_buckets, &slot);
	struct tcp_end_event *event;

	if (!bucket)
		return NULL;
	count_end(consumers, produced);
	if (!event_take_token(bucket, rate) || !event_take_share(bucket, sizeof(*event))) {
		count_end(consumers, limited);
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		count_end(consumers, lost);
	return event;
}

static __always_inline void report_end(const struct tcp_ends_wanted *wanted, const struct sock *sk,
				       const struct tcp_sock *tcp, __u64 netns, const __u64 *counts, __u8 role, int old,
				       __u8 end)
{
	__u8 consumers = consumers_of(wanted, tcp, counts, end);
	struct tcp_end_event *event;

	if (!consumers)
		return;
	event = reserve_end(netns, (struct netns_clue){.sk = sk}, consumers, wanted->rate);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->netns = netns;
	event->cgroup = netns == node_netns ? flow_cgroup(sk) : 0;
	__builtin_memcpy(event->counts, counts, sizeof(event->counts));
	socket_read_tuple(&event->tuple, sk);
	event->connect = old == STATE_SYN_SENT ? since_first_syn(tcp) : 0;
	event->round_trip = tcp->srtt_us >> 3;
	event->round_trip_min = event->round_trip ? BPF_CORE_READ(tcp, rtt_min.s[0].v) : 0;
	event->role = role;
	event->state = old;
	event->end = end;
	event->consumers = consumers;
	event_submit(event);
}
