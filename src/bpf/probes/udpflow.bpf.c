// SPDX-License-Identifier: GPL-2.0-only
/* Counts datagrams and their payload bytes by namespace, peer, port and role. */
#include "common/misses.bpf.h"
#include "common/netns.bpf.h"
#include "common/pod_filter.bpf.h"
#include "common/room.bpf.h"
#include "common/shared.bpf.h"
#include "common/socket_place.bpf.h"
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

char LICENSE[] SEC("license") = "GPL";

enum udp_role {
	ROLE_CLIENT, /* the kernel assigned the local port */
	ROLE_SERVER,
};

SHARED_ENUM(udp_role);

struct udp_key {
	__u64 netns; /* cookie */
	__u64 cgroup; /* cgroup ID of the socket in the node's own namespace; 0 in other namespaces */
	__u8 peer[16]; /* IPv4 addresses are IPv4-mapped */
	__u16 port; /* server's port */
	__u8 role;
	__u8 padding[5];
};

struct udp_row {
	__u64 sent_bytes, received_bytes; /* payload */
	__u64 sent_datagrams, received_datagrams;
	__u64 leaving; /* nonzero if the row must not be updated because user space is about to delete it */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct udp_key);
	__type(value, struct udp_row);
} udp_rows SEC(".maps");

/* Overflow rows for datagrams that have no row of their own, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct udp_row);
} udp_rest SEC(".maps");

enum udp_direction { UDP_SENT, UDP_RECEIVED };

/* A buffer with one datagram, or with several datagrams of equal length. */
struct udp_packet {
	struct udp_key key;
	__u32 bytes, datagrams;
};

/* The node's own namespace, in which each cgroup has its own rows. */
const volatile __u64 node_netns = 0;

#define UDP_HEADER 8
#define UDP_AT_MAX 0x7fff /* maximum offset of the UDP header */
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define SOCK_DGRAM 2
/* Bit of gso_type for a single datagram that is split into IP fragments (kernel: include/linux/skbuff.h). */
#define SKB_GSO_UDP (1 << 16)

/* Returns false if the IP header rules out UDP, as it does for most packets. */
static __always_inline bool may_be_udp(const struct __sk_buff *skb)
{
	const __u8 *header = (const void *)(long)skb->data;

	if (header + IPV4_HEADER > (const __u8 *)(long)skb->data_end)
		return false;
	if (header[0] >> 4 == 4)
		return header[9] == IPPROTO_UDP;
	/* Extension headers may precede the UDP header, so the socket's type decides. */
	return header[6] != IPPROTO_TCP && header[6] != IPPROTO_ICMPV6;
}

/* Returns the socket that sends or receives the packet; NULL if it is not a UDP socket. */
static __always_inline const struct bpf_sock *udp_socket(const struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	return sk && sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP ? sk : NULL;
}

/* Returns whether the port is in the range from which this namespace assigns ports to unbound sockets. */
static __always_inline bool is_ephemeral(const struct net *net, __u16 port, enum socket_reads reads)
{
	const struct net___before_6_8 *old = (const void *)net;
	int range[2] = {};

	if (bpf_core_field_exists(net->ipv4.ip_local_ports.range)) {
		__u32 both = reads == READS_TYPED ? net->ipv4.ip_local_ports.range
						  : BPF_CORE_READ(net, ipv4.ip_local_ports.range);

		range[0] = both & 0xffff;
		range[1] = both >> 16;
	} else {
		BPF_CORE_READ_INTO(&range, old, ipv4.ip_local_ports.range);
	}
	return port >= range[0] && port <= range[1];
}

/*
 * Copies the remote address.
 * @return offset of the UDP header; 0 if the packet has none
 */
static __always_inline __u32 read_peer(struct udp_key *key, const struct __sk_buff *skb, enum udp_direction direction)
{
	const __u8 *header = (const void *)(long)skb->data;
	const struct sk_buff *kernel;
	const __u8 *end = (const void *)(long)skb->data_end;

	if (header + IPV4_HEADER > end)
		return 0;
	if (header[0] >> 4 == 4) {
		key->peer[10] = key->peer[11] = 0xff;
		__builtin_memcpy(key->peer + 12, header + (direction == UDP_SENT ? 16 : 12), 4);
		return (header[0] & 0xf) * 4;
	}
	if (header + IPV6_HEADER > end)
		return 0;
	__builtin_memcpy(key->peer, header + (direction == UDP_SENT ? 24 : 8), 16);
	if (header[6] == IPPROTO_UDP)
		return IPV6_HEADER;
	kernel = plain_address(skb);
	return (__u16)(BPF_CORE_READ(kernel, transport_header) - BPF_CORE_READ(kernel, network_header));
}

/* Returns the number of datagrams in a buffer. All datagrams except the last one have the same length. */
static __always_inline __u32 datagrams_of(const struct __sk_buff *skb, __u32 bytes)
{
	const struct skb_shared_info *shared;
	const struct sk_buff *kernel;
	__u32 each = skb->gso_size;

	if (!each)
		return 1;
	kernel = plain_address(skb);
	shared = (const void *)(BPF_CORE_READ(kernel, head) + BPF_CORE_READ(kernel, end));
	if (BPF_CORE_READ(shared, gso_type) & SKB_GSO_UDP)
		return 1;
	return (bytes + each - 1) / each;
}

static __always_inline bool read_packet(struct udp_packet *packet, const struct __sk_buff *skb, const struct net *net,
					__u16 local, enum udp_direction direction, enum socket_reads reads)
{
	struct udp_key *key = &packet->key;
	__u32 at = read_peer(key, skb, direction) & UDP_AT_MAX;
	const __be16 *ports = (const void *)(long)skb->data + at; /* source, destination */

	if (!at || (const void *)ports + UDP_HEADER > (const void *)(long)skb->data_end)
		return false;
	key->role = is_ephemeral(net, local, reads) ? ROLE_CLIENT : ROLE_SERVER;
	key->port = key->role == ROLE_SERVER ? local : bpf_ntohs(ports[direction == UDP_SENT]);
	packet->bytes = skb->len - at - UDP_HEADER;
	packet->datagrams = datagrams_of(skb, packet->bytes);
	return true;
}

static __always_inline struct udp_row *make_row(const struct udp_key *key, __u32 slot)
{
	static const struct udp_row zero = {};

	if (!room_take(slot))
		return NULL;
	if (bpf_map_update_elem(&udp_rows, key, &zero, BPF_NOEXIST))
		room_give_back(slot);
	return bpf_map_lookup_elem(&udp_rows, key);
}

/* Returns the row for a key, or the owner's overflow row. */
static __always_inline struct udp_row *row_of(const struct udp_key *key, const struct net *net)
{
	struct udp_row *row = bpf_map_lookup_elem(&udp_rows, key);
	__u32 slot;

	if (row && !row->leaving)
		return row;
	slot = owner_slot_of(key->netns, net);
	if (!row)
		row = make_row(key, slot);
	if (row && !row->leaving)
		return row;
	count_miss(added_up);
	return bpf_map_lookup_elem(&udp_rest, &slot);
}

static __always_inline void add_packet(struct udp_row *row, const struct udp_packet *packet,
				       enum udp_direction direction)
{
	if (direction == UDP_SENT) {
		__sync_fetch_and_add(&row->sent_bytes, packet->bytes);
		__sync_fetch_and_add(&row->sent_datagrams, packet->datagrams);
	} else {
		__sync_fetch_and_add(&row->received_bytes, packet->bytes);
		__sync_fetch_and_add(&row->received_datagrams, packet->datagrams);
	}
}

/* Counts a packet. Always returns 1, which lets the packet pass. */
static __always_inline int count_packet(struct __sk_buff *skb, enum udp_direction direction, enum socket_reads reads)
{
	struct udp_packet packet = {};
	const struct bpf_sock *sk;
	const struct net *net;
	struct udp_row *row;

	if (!may_be_udp(skb))
		return 1;
	sk = udp_socket(skb);
	if (!sk)
		return 1;
	net = net_of(sk, reads);
	packet.key.netns = reads == READS_TYPED ? netns_id(net) : netns_read_id(net);
	if (!packet.key.netns) {
		count_miss(no_netns);
		return 1;
	}
	if (!passes_pod_filter(packet.key.netns))
		return 1;
	if (packet.key.netns == node_netns)
		packet.key.cgroup = cgroup_of(sk, reads);
	if (!read_packet(&packet, skb, net, sk->src_port, direction, reads)) {
		count_miss(untracked);
		return 1;
	}
	row = row_of(&packet.key, net);
	if (row)
		add_packet(row, &packet, direction);
	else
		count_miss(map_full);
	return 1;
}

SEC("cgroup_skb/egress")
int udp_sent(struct __sk_buff *skb)
{
	return count_packet(skb, UDP_SENT, READS_TYPED);
}

SEC("cgroup_skb/egress")
int udp_sent_copied(struct __sk_buff *skb)
{
	return count_packet(skb, UDP_SENT, READS_COPIED);
}

SEC("cgroup_skb/ingress")
int udp_received(struct __sk_buff *skb)
{
	return count_packet(skb, UDP_RECEIVED, READS_TYPED);
}

SEC("cgroup_skb/ingress")
int udp_received_copied(struct __sk_buff *skb)
{
	return count_packet(skb, UDP_RECEIVED, READS_COPIED);
}

/*
 * Marks the row with the key in the arguments for deletion. From then on, its packets are counted in the owner's
 * overflow row. User space deletes the row once no program can still be using it.
 */
SEC("raw_tp/sys_enter")
int udp_leave(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key[] = {ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[4]};
	struct udp_row *row = bpf_map_lookup_elem(&udp_rows, key);

	_Static_assert(sizeof(key) == sizeof(struct udp_key), "the kernel refuses a run with fewer arguments");
	if (row)
		row->leaving = 1;
	return 0;
}
