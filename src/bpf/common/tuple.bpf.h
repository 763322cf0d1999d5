// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <linux/in.h>

/* IPv4 addresses are kept as IPv4-mapped IPv6 addresses, so that there is one path for both. */
struct packet_tuple {
	__u8 source[16];
	__u8 destination[16];
	__u16 source_port; /* host order; 0 where the protocol has none */
	__u16 destination_port;
	__u16 ethertype; /* host order; protocol that the frame carries */
	__u8 protocol; /* IPPROTO_*, valid if family is set */
	__u8 family; /* 4, 6, or 0: not IP, and nothing above is valid but the ethertype */
};

/* Swaps source and destination. */
static __always_inline void tuple_reverse(struct packet_tuple *tuple)
{
	struct packet_tuple forth = *tuple;

	__builtin_memcpy(tuple->source, forth.destination, 16);
	__builtin_memcpy(tuple->destination, forth.source, 16);
	tuple->source_port = forth.destination_port;
	tuple->destination_port = forth.source_port;
}
