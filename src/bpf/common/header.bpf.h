// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "packet.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADER_LENGTH 64 /* the longest IPv4 header, and ports */

/* Header of a packet, kept for an event because the packet may be gone by then. */
struct packet_header {
	__u16 ethertype; /* host order; 0 where it could not be read */
	__u8 bytes[HEADER_LENGTH]; /* from the network header on */
};

static __always_inline void header_keep(struct packet_header *header, __be16 ethertype, const void *network)
{
	header->ethertype = bpf_ntohs(ethertype);
	if (bpf_probe_read_kernel(header->bytes, HEADER_LENGTH, network))
		header->ethertype = 0;
}

#define IPV6_NEXT_HEADER 6 /* its offset */

/* The kept bytes may not hold all headers of an IPv6 packet with extensions. */
static __always_inline void header_read_tuple(struct packet_tuple *tuple, const struct packet_header *header)
{
	__u8 next = header->bytes[IPV6_NEXT_HEADER];

	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->ethertype = header->ethertype;
	if (tuple->ethertype == ETHERTYPE_IPV4)
		packet_read_ipv4(tuple, header->bytes);
	else if (tuple->ethertype == ETHERTYPE_IPV6 && (packet_has_ports(next) || next == IPPROTO_ICMPV6))
		packet_read_ipv6(tuple, header->bytes);
}
