// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Counts of DNS by place and role. */
#include "common/histogram.bpf.h"
#include "common/place_rows.bpf.h"
#include "common/shared.bpf.h"
#include "dns_message.bpf.h"
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>

enum dns_role {
	ROLE_CLIENT, /* sends queries */
	ROLE_SERVER,
};

/* Why a packet is in no other counter, or a query is neither answered nor unanswered. */
enum dns_unknown {
	UNKNOWN_MALFORMED, /* not a DNS message */
	UNKNOWN_OPERATION, /* another operation than a query, such as an update */
	UNKNOWN_SEVERAL, /* a buffer with several datagrams */
	UNKNOWN_MISSING, /* bytes of the TCP connection are missing before this segment */
	UNKNOWN_UNASKED, /* an answer for which no query waits */
	UNKNOWN_MISMATCHED, /* an answer to a waiting query, but with another name */
	UNKNOWN_UNTRACKED, /* a query that cannot wait: too many are waiting, or one with the same ID */
	UNKNOWN_STOPPED, /* a query that was waiting when the probe was stopped */
};

#define UNKNOWNS 8

SHARED_ENUM(dns_role);
SHARED_ENUM(dns_unknown);

struct dns_row {
	__u64 queries[DNS_TYPES];
	__u64 answers[DNS_RCODES]; /* to queries that waited */
	__u64 unknown[UNKNOWNS];
	__u64 unanswered;
	__u64 truncated;
	struct histogram durations;
};

/* `detail` of the key is the role. */
PLACE_ROWS(dns_row);

/* Adds to a counter of a row, by its index among the words of the row. */
__noinline int dns_count(__u64 netns, __u64 cgroup, __u32 role, __u32 unlisted, __u32 word)
{
	struct place_key key = {.netns = netns, .cgroup = cgroup, .detail = role};
	struct dns_row *row = dns_row_of(&key, unlisted);

	if (row && word < sizeof(*row) / sizeof(__u64))
		__sync_fetch_and_add((__u64 *)row + word, 1);
	return 0;
}

#define WORD_OF(field) (offsetof(struct dns_row, field) / sizeof(__u64))

/*
 * Counts an answer, and the time since its query.
 * @param what flags of the answer, role << 16 | unlisted << 24
 * @param duration in nanoseconds
 */
__noinline int dns_count_answer(__u64 netns, __u64 cgroup, __u32 what, __u64 duration)
{
	struct place_key key = {.netns = netns, .cgroup = cgroup, .detail = what >> 16 & 0xff};
	struct dns_row *row = dns_row_of(&key, what >> 24);
	__u32 rcode = what & DNS_RCODE;

	if (!row)
		return 0;
	if (rcode > RCODE_OTHER)
		rcode = RCODE_OTHER;
	barrier_var(rcode);
	if (rcode >= DNS_RCODES)
		return 0;
	__sync_fetch_and_add(&row->answers[rcode], 1);
	if (what & DNS_FLAG_TRUNCATED)
		__sync_fetch_and_add(&row->truncated, 1);
	histogram_add_shared(&row->durations, duration);
	return 0;
}
