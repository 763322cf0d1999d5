// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/* Data about TCP sockets that are being closed. */
#include "common/kernel.h"
#include "common/misses.bpf.h"
#include "common/socket.bpf.h"

/* Number of table entries. The index of a socket is a hash of its address. */
#define ENDINGS 16384

struct ending {
	__u64 mark; /* mark_of() for the last socket that was counted as closed */
	__u64 left; /* left_of() for the last socket that left the state ESTABLISHED; 0 once that socket is closed */
};

static struct ending endings[ENDINGS];

/*
 * Returns the address of a socket minus a constant. The verifier treats the difference of two pointers as an integer. A
 * conversion through memory would require a helper call.
 */
static __always_inline __u64 address_of(const struct sock *sk)
{
	__u64 address = (__u64)sk;

	asm("%0 -= %1" : "+r"(address) : "r"(&endings));
	return address;
}

static __always_inline __u32 hash_of(__u64 address)
{
	return (__u32)(address >> 6) * 0x9E3779B1U >> 16;
}

/*
 * Returns the value of `left` for a socket: its shortened address in the upper half and its smoothed round-trip time in
 * microseconds in the lower half. Within 256 GiB of memory, shortened addresses are unique.
 */
static __always_inline __u64 left_of(__u64 address, __u32 round_trip)
{
	return (address >> 6) << 32 | round_trip;
}

/*
 * Returns a mark that identifies the closed connection. The address is not sufficient because the socket's memory may
 * soon be reused for another connection.
 */
static __always_inline __u64 mark_of(__u64 address, const struct tcp_sock *tcp)
{
	return address ^ ((__u64)tcp->write_seq << 32 | tcp->rcv_nxt) ^ (__u64)tcp->segs_in << 40;
}

/*
 * Returns the smoothed round-trip time in microseconds that an established connection had before it sent its FIN; 0 if
 * unknown. The socket's current value includes the ACK of the FIN, which the peer may delay.
 */
static __always_inline __u32 last_round_trip(struct ending *ending, const struct tcp_sock *tcp, __u64 address, int old)
{
	__u64 left = ending->left;

	if (old == STATE_ESTABLISHED)
		return tcp->srtt_us >> 3;
	if (left >> 32 != left_of(address, 0) >> 32) {
		count_miss(untracked);
		return 0;
	}
	ending->left = 0;
	return left;
}
