// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "flow_key.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Connections of watched rows, whose peer's address may be a translation of the real one (ADR 42). The hook logs a
 * connection when it is closed, and each walk logs those that are open. User space reads the log after each walk. The
 * objects of the hooks, of the walk and of the look-up share these maps.
 */
#define FLOW_LOG_ENTRIES 8192
#define FLOW_LOG_SHARE (FLOW_LOG_ENTRIES / 4) /* maximum number of entries of an owner between two reads */

/* Result of the look-up of a connection in the table of connection tracking. */
enum flow_found {
	FLOW_FOUND_NOT_ASKED,
	FLOW_FOUND_NOTHING,
	FLOW_FOUND_ORIGINAL, /* the connection's own packets have the addresses of its first packet */
	FLOW_FOUND_REPLY, /* the connection's own packets have the addresses of a reply */
};

SHARED_ENUM(flow_found);

/* Keeps the struct in the BTF of each object, so that user space knows the layout of the key below. */
const struct flow_key *const volatile flow_key_record = NULL;

struct flow_connection {
	__u64 number; /* of this entry since the start, counted from 1; written last */
	struct flow_key key;
	__u8 local[16];
	__u16 local_port, peer_port;
	__u8 closed;
	/* Written by the look-up. */
	__u8 found;
	__u8 state; /* kernel: include/uapi/linux/netfilter/nf_conntrack_tcp.h, enum tcp_conntrack */
	__u8 spare;
	__u8 other[16]; /* source of the packets that the other end sends */
};

/* A ring, indexed by the entry's number - 1. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_LOG_ENTRIES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow_connection);
} flow_log SEC(".maps");

/* Number of entries that were requested since the start, including those for which there was no room. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} flow_log_head SEC(".maps");

/* Number of entries that user space has read, or has given up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} flow_log_tail SEC(".maps");
