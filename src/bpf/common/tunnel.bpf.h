// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "packet.bpf.h"
#include "shared.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/in.h>

/* Finds the packet inside of a tunnel's packet. All bytes are read within the bounds of struct packet_bytes. */

enum tunnel_limit {
	VXLAN_PORTS = 4,
};

SHARED_ENUM(tunnel_limit);

SETTING bool with_tunnels = false;
SETTING __u16 vxlan_ports[VXLAN_PORTS] = {}; /* host order; 0 for none */

enum tunnel_kind {
	TUNNEL_NONE,
	TUNNEL_VXLAN,
	TUNNEL_GENEVE,
	TUNNEL_IPIP, /* IPv4 in IPv4 or IPv6 */
	TUNNEL_IP6, /* IPv6 in IPv4 or IPv6 */
	TUNNEL_GRE,
};

SHARED_ENUM(tunnel_kind);

struct packet_tunnel {
	struct packet_tuple inner; /* ethertype is 0 if it could not be read */
	__u32 id; /* network identifier or key, host order; valid if `has_id` is set */
	__u8 kind; /* enum tunnel_kind */
	__u8 has_id;
	__u8 spare[2];
};

#define PORT_GENEVE 6081
#define ETHERTYPE_FRAME 0x6558 /* an Ethernet frame (IANA: Transparent Ethernet Bridging) */
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_VLAN_OUTER 0x88a8
#define FRAME_TAGS_MAX 2

/* RFC 2784, RFC 2890 */
#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000 /* RFC 1701 */
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION 0x0007

/* RFC 7348, RFC 8926: both headers have eight bytes, with the identifier at the same place. */
struct tunnel_header {
	__u8 flags, options;
	__be16 ethertype; /* Geneve */
	__be32 id; /* in the upper 24 bits */
};

#define VXLAN_HAS_ID 0x08
#define GENEVE_VERSION 0xc0
#define GENEVE_LENGTH 0x3f /* of the options, in words */

/* Each function returns the type of the packet behind the header at `*at`, and moves `*at` there; 0 if it is unknown.
 */

static __always_inline __u16 tunnel_skip_gre(struct packet_tunnel *tunnel, const struct packet_bytes *bytes, __u32 *at)
{
	struct {
		__be16 flags, ethertype;
	} header;
	__be32 key;
	__u16 flags;

	if (!packet_copy(&header, sizeof(header), bytes, *at))
		return 0;
	flags = bpf_ntohs(header.flags);
	/* Version 1 is PPTP. */
	if (flags & (GRE_VERSION | GRE_ROUTING))
		return 0;
	tunnel->kind = TUNNEL_GRE;
	*at += sizeof(header) + (flags & GRE_CHECKSUM ? 4 : 0);
	if (flags & GRE_KEY) {
		if (!packet_copy(&key, sizeof(key), bytes, *at))
			return 0;
		tunnel->id = bpf_ntohl(key);
		tunnel->has_id = 1;
		*at += sizeof(key);
	}
	if (flags & GRE_SEQUENCE)
		*at += 4;
	return bpf_ntohs(header.ethertype);
}

static __always_inline bool is_vxlan_port(__u16 port)
{
	for (int i = 0; i < VXLAN_PORTS; i++)
		if (port && port == vxlan_ports[i])
			return true;
	return false;
}

static __always_inline __u16 tunnel_skip_udp(struct packet_tunnel *tunnel, struct packet_bytes *bytes, __u16 port,
					     __u32 *at)
{
	struct {
		__be16 source, destination, length, checksum;
	} udp;
	struct tunnel_header header;

	if (port != PORT_GENEVE && !is_vxlan_port(port))
		return 0;
	if (!packet_copy(&udp, sizeof(udp), bytes, *at))
		return 0;
	if (udp.length)
		packet_trim(bytes, *at + bpf_ntohs(udp.length));
	*at += sizeof(udp);
	if (!packet_copy(&header, sizeof(header), bytes, *at))
		return 0;
	*at += sizeof(header);
	if (port == PORT_GENEVE) {
		if (header.flags & GENEVE_VERSION)
			return 0;
		tunnel->kind = TUNNEL_GENEVE;
		*at += (header.flags & GENEVE_LENGTH) * 4;
	} else {
		if (!(header.flags & VXLAN_HAS_ID))
			return 0;
		tunnel->kind = TUNNEL_VXLAN;
		header.ethertype = bpf_htons(ETHERTYPE_FRAME);
	}
	tunnel->id = bpf_ntohl(header.id) >> 8;
	tunnel->has_id = 1;
	return bpf_ntohs(header.ethertype);
}

static __always_inline __u16 tunnel_skip_frame(const struct packet_bytes *bytes, __u32 *at)
{
	__be16 type = 0;

	/* The addresses. */
	*at += 12;
#pragma unroll
	for (int i = 0; i <= FRAME_TAGS_MAX; i++) {
		if (!packet_copy(&type, sizeof(type), bytes, *at))
			return 0;
		*at += sizeof(type);
		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_VLAN_OUTER))
			break;
		*at += 2;
	}
	return bpf_ntohs(type);
}

/* A subprogram, so that the verifier sees less code. */
static __noinline int tunnel_read_inner(struct packet_tuple *inner, struct packet_bytes *bytes, __u32 at,
					__u16 ethertype)
{
	if (!inner || !bytes)
		return 0;
	packet_read_ip(inner, bytes, at, ethertype);
	return 0;
}

/*
 * Fills a zeroed struct from a packet whose outer headers were read.
 * @param bytes of the outer packet
 */
static __always_inline void tunnel_read(struct packet_tunnel *tunnel, const struct packet_tuple *outer,
					struct packet_bytes *bytes)
{
	__u32 at = bytes->transport;
	__u16 ethertype = 0;

	if (!with_tunnels || !at)
		return;
	switch (outer->protocol) {
	case IPPROTO_UDP:
		ethertype = tunnel_skip_udp(tunnel, bytes, outer->destination_port, &at);
		break;
	case IPPROTO_IPIP:
		tunnel->kind = TUNNEL_IPIP;
		ethertype = ETHERTYPE_IPV4;
		break;
	case IPPROTO_IPV6:
		tunnel->kind = TUNNEL_IP6;
		ethertype = ETHERTYPE_IPV6;
		break;
	case IPPROTO_GRE:
		ethertype = tunnel_skip_gre(tunnel, bytes, &at);
		break;
	default:
		return;
	}
	if (ethertype == ETHERTYPE_FRAME)
		ethertype = tunnel_skip_frame(bytes, &at);
	if (ethertype)
		tunnel_read_inner(&tunnel->inner, bytes, at, ethertype);
}
