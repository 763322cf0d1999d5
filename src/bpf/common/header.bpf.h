// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "packet.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADER_LENGTH 64 /* size of the longest IPv4 header plus the ports */

/* Copy of a packet's header for an event, because the packet may be freed before the event is sent. */
struct packet_header {
	__u16 ethertype; /* host order; 0 if it could not be read */
	__u8 bytes[HEADER_LENGTH]; /* from the start of the network header */
};

static __always_inline void header_keep(struct packet_header *header, __be16 ethertype, const void *network)
{
	header->ethertype = bpf_ntohs(ethertype);
	if (bpf_probe_read_kernel(header->bytes, HEADER_LENGTH, network))
		header->ethertype = 0;
}

#define IPV6_NEXT_HEADER 6 /* offset of the field in the IPv6 header */

/* Reads the tuple from a copied header. The copy may be too short for all extension headers of an IPv6 packet. */
static __always_inline void header_read_tuple(struct packet_tuple *tuple, const struct packet_header *header)
{
	struct packet_bytes bytes = {.start = header->bytes, .length = HEADER_LENGTH};
	__u8 next = header->bytes[IPV6_NEXT_HEADER];

	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->ethertype = header->ethertype;
	if (tuple->ethertype == ETHERTYPE_IPV4)
		packet_read_ipv4(tuple, &bytes, 0);
	else if (tuple->ethertype == ETHERTYPE_IPV6 && (packet_has_ports(next) || next == IPPROTO_ICMPV6))
		packet_read_ipv6(tuple, &bytes, 0);
}
