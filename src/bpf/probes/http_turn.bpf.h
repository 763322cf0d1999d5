// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/l7.bpf.h"
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* The segments of one direction of a connection are read one after another, although several CPUs may have some. */
struct http_turn {
	__u32 is_busy; /* nonzero while a program reads a segment */
	__u32 next; /* sequence number of the next byte to read, if `is_placed` */
	__u32 is_placed;
};

/* A segment that has to wait for its turn. */
struct http_entry {
	struct http_turn *turn;
	__u32 seq;
	bool follows; /* bytes before it are missing */
};

/* Returns whether the segment may be read now. @param follows whether bytes before it are missing */
static __always_inline bool http_try(struct http_turn *turn, __u32 seq, bool follows)
{
	if (!follows && turn->is_placed && (__s32)(seq - *(volatile __u32 *)&turn->next) > 0)
		return false;
	return !__sync_lock_test_and_set(&turn->is_busy, 1);
}

/* Like http_try(), as a callback of bpf_loop(). */
static long http_try_again(__u64 index, struct http_entry *entry)
{
	return !entry->turn || http_try(entry->turn, entry->seq, entry->follows);
}

#define HTTP_TRIES_MAX 20000 /* some 100 to 200 microseconds */

/*
 * Waits until the previous segment has been read, which may be happening on another CPU. That CPU is in a softirq and
 * soon finished. Returns false if it is not, for example because a virtual CPU does not run.
 */
static __always_inline bool http_enter(__u32 seq, struct http_turn *turn, __u8 marks)
{
	struct http_entry entry = {.turn = turn, .seq = seq, .follows = marks & L7_GAP};

	return http_try(turn, seq, entry.follows) ||
	       bpf_loop(HTTP_TRIES_MAX, http_try_again, &entry, 0) < HTTP_TRIES_MAX ||
	       !__sync_lock_test_and_set(&turn->is_busy, 1);
}

static __always_inline void http_leave(struct http_turn *turn)
{
	__sync_lock_test_and_set(&turn->is_busy, 0);
}
