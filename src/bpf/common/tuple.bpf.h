// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <linux/in.h>

/* IPv4 addresses are stored as IPv4-mapped IPv6 addresses, so both families share the same code. */
struct packet_tuple {
	__u8 source[16];
	__u8 destination[16];
	__u16 source_port; /* host order; 0 if the protocol has none */
	__u16 destination_port;
	__u16 ethertype; /* host order */
	__u8 protocol; /* IPPROTO_*, valid if family is set */
	__u8 family; /* 4 or 6; 0 if not IP, in which case only the ethertype is valid */
};

/* Swaps the source and the destination. */
static __always_inline void tuple_reverse(struct packet_tuple *tuple)
{
	struct packet_tuple forth = *tuple;

	__builtin_memcpy(tuple->source, forth.destination, 16);
	__builtin_memcpy(tuple->destination, forth.source, 16);
	tuple->source_port = forth.destination_port;
	tuple->destination_port = forth.source_port;
}
