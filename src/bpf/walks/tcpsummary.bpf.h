// SPDX-License-Identifier: GPL-2.0-only
#pragma once

/*
 * Results and state of a walk that counts the TCP sockets of each namespace, their queued bytes, and the connections
 * waiting to be accepted.
 */
#include "common/netns_walk.bpf.h"
#include "common/share.bpf.h"
#include "common/shared.bpf.h"
#include "common/tcp_state.bpf.h"

#define FAMILY_IPV4 2 /* AF_INET */
/*
 * Maximum number of rows per owner in a walk. Without it, an owner that listens on every port could displace the rows
 * of other owners.
 */
const volatile __u32 ports_each = 4096;
const volatile __u32 listeners_each = 64;
/* Maximum number of buckets to walk per owner in namespaces with their own hash table, which may have any size. */
const volatile __u32 buckets_each = 1 << 18;

#define TCP_STATES 16 /* a power of two greater than the last state */

/*
 * States in which sockets have queues, as bits. In other states, the sequence numbers do not indicate queued data, or
 * do not exist because the entry is not a full socket.
 */
enum tcp_states {
	TCP_STATES_WITH_QUEUES = 1 << STATE_ESTABLISHED | 1 << STATE_FIN_WAIT1 | 1 << STATE_FIN_WAIT2 |
				 1 << STATE_CLOSE_WAIT | 1 << STATE_LAST_ACK | 1 << STATE_CLOSING,
};

SHARED_ENUM(tcp_states);

/* True if kernel memory can be read without a helper call (6.2), which halves the duration of a walk. */
const volatile bool can_cast = false;

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

#define READ(type, address, field)                                                                  \
	({                                                                                          \
		type *_object = (type *)(address);                                                  \
		can_cast ? ((type *)bpf_rdonly_cast(_object, bpf_core_type_id_kernel(type)))->field \
			 : BPF_CORE_READ(_object, field);                                           \
	})

/* Saved position in one hash table. */
struct tcp_cursor {
	__u32 walk; /* number of the walk that saved the position */
	__u32 bucket;
	__u32 counted; /* number of sockets in this bucket that have already been counted */
	__u32 done;
};

struct tcp_row {
	struct tcp_cursor own; /* position in the namespace's own hash table, if it has one */
	__u32 walk; /* number of the walk that set the following fields */
	__u32 left; /* whether the own hash table was skipped */
	__u32 sockets[TCP_STATES];
	__u32 largest_receive_queue, largest_send_queue;
	__u64 receive_queue, send_queue;
};

/* Rows by namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, struct tcp_row);
} tcp_rows SEC(".maps");

struct tcp_port {
	__u64 netns;
	__u64 port;
};

/* Connections waiting at all sockets that listen on a port, and at the one that is closest to its limit. */
struct tcp_accept_queue {
	__u32 walk;
	__u32 length;
	__u64 limit;
	__u32 fullest_length, fullest_limit;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tcp_port);
	__type(value, struct tcp_accept_queue);
} tcp_accept_queues SEC(".maps");

/* A listening socket that has dropped connections. */
struct tcp_listener {
	__u64 netns;
	__u64 cgroup; /* ID in the v2 hierarchy; 0 if the socket has none */
	__u32 walk;
	__u32 drops;
	__u32 length, limit;
	__u32 port, family;
	__u8 address[16];
};

/* Listening sockets by the address of their struct sock, which may be reused for another listening socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct tcp_listener);
} tcp_listeners SEC(".maps");

/* Resources that an owner has used in this walk, by slot. */
struct tcp_share {
	__u32 walk;
	__u32 taken; /* number of rows used for accept queues or listening sockets */
	__u32 buckets; /* number of buckets in hash tables of the owner's namespaces */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct tcp_share);
} tcp_shares SEC(".maps");

/* Progress of a walk, and numbers of items that it had to leave out. */
struct tcp_progress {
	struct tcp_cursor connections; /* position in the shared hash table */
	struct tcp_cursor listeners;
	__u32 walk;
	__u32 sockets;
	__u32 rows_full; /* sockets in namespaces that got no row because the map was full */
	__u32 accept_queues_full;
	__u32 accept_queues_left; /* accept queues beyond the limit per owner */
	__u32 hashes_left; /* namespaces' own hash tables beyond the bucket limit per owner */
	__u32 listeners_full;
	__u32 strayed; /* chains that led into another chain */
	__u32 flows_left; /* connections in chains that were split between two slices */
	__u32 unreadable;
	__u64 longest, total; /* nanoseconds: longest call, all calls together */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct tcp_progress);
} tcp_progress_cell SEC(".maps");

/*
 * State of the running call; calls never overlap. Stored in a map because the verifier does not track values in maps;
 * it would check every iteration of a loop over values that it tracks.
 */
static struct {
	__u64 deadline;
	__u64 heads; /* address of the first chain's head */
	__u64 node; /* address of the current node in the chain */
	__u32 stride, buckets, nulls_base;
	__u32 bucket, counted, skip, enough;
	__u32 first, occupied, nth; /* in the chunk: first bucket, number of nonempty buckets, index of the next one */
	__u32 cost, expired;
	__u32 listeners_only;
	__u32 flows, listens, round_trips; /* whether to update these parts of flow_rows */
	__u32 is_resumed; /* whether an earlier slice ended in the middle of the current chain */
	__u32 started, previous; /* jiffies at the start of this walk and of the previous one */
	struct tcp_progress progress;
} walk;

#include "flows.bpf.h"

static __always_inline struct tcp_row *row_of(__u64 netns)
{
	static const struct tcp_row fresh;
	struct tcp_row *row = bpf_map_lookup_elem(&tcp_rows, &netns);

	if (!row) {
		bpf_map_update_elem(&tcp_rows, &netns, &fresh, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&tcp_rows, &netns);
		if (!row) {
			walk.progress.rows_full++;
			return NULL;
		}
	}
	if (row->walk != walk.progress.walk) {
		row->walk = walk.progress.walk;
		row->left = 0;
		__builtin_memset(row->sockets, 0, sizeof(row->sockets));
		row->largest_receive_queue = row->largest_send_queue = 0;
		row->receive_queue = row->send_queue = 0;
	}
	return row;
}

/* Returns the resources that the namespace's owner has used in this walk; NULL on failure. */
static __always_inline struct tcp_share *share_of(__u64 netns, const struct net *net)
{
	__u32 slot = owner_slot_of(netns, net);
	struct tcp_share *share = bpf_map_lookup_elem(&tcp_shares, &slot);

	if (share && share->walk != walk.progress.walk) {
		share->walk = walk.progress.walk;
		share->taken = share->buckets = 0;
	}
	return share;
}

/* Allocates one of the `each` rows that the socket's owner may use in this walk; returns false if none is left. */
static __always_inline bool take_row(__u64 netns, __u64 sk, __u32 each)
{
	struct tcp_share *share = share_of(netns, READ(struct sock_common, sk, skc_net.net));

	if (!share || share->taken >= each)
		return false;
	share->taken++;
	return true;
}

/* Returns `end - start`, or 0 if it is negative because the socket changed between the two reads. */
static __always_inline __u32 difference(__u32 end, __u32 start)
{
	return (__s32)(end - start) < 0 ? 0 : end - start;
}

static __always_inline void add_queues(struct tcp_row *row, __u64 sk)
{
	__u32 received = difference(READ(struct tcp_sock, sk, rcv_nxt), READ(struct tcp_sock, sk, copied_seq));
	__u32 sent = difference(READ(struct tcp_sock, sk, write_seq), READ(struct tcp_sock, sk, snd_una));

	row->receive_queue += received;
	row->send_queue += sent;
	if (received > row->largest_receive_queue)
		row->largest_receive_queue = received;
	if (sent > row->largest_send_queue)
		row->largest_send_queue = sent;
}

static __always_inline void add_accept_queue(__u64 netns, __u64 sk)
{
	struct tcp_port port = {.netns = netns, .port = READ(struct sock_common, sk, skc_num)};
	struct tcp_accept_queue *queue = bpf_map_lookup_elem(&tcp_accept_queues, &port);
	__u64 length, limit;

	if ((!queue || queue->walk != walk.progress.walk) && !take_row(netns, sk, ports_each)) {
		walk.progress.accept_queues_left++;
		return;
	}
	if (!queue) {
		struct tcp_accept_queue fresh = {};

		bpf_map_update_elem(&tcp_accept_queues, &port, &fresh, BPF_NOEXIST);
		queue = bpf_map_lookup_elem(&tcp_accept_queues, &port);
		if (!queue) {
			walk.progress.accept_queues_full++;
			return;
		}
	}
	if (queue->walk != walk.progress.walk) {
		queue->walk = walk.progress.walk;
		queue->length = queue->limit = 0;
		queue->fullest_length = queue->fullest_limit = 0;
	}
	length = READ(struct sock, sk, sk_ack_backlog);
	limit = READ(struct sock, sk, sk_max_ack_backlog);
	queue->length += length;
	queue->limit += limit;
	/*
	 * Compares fill ratios. A queue may contain one connection more than its limit (kernel: include/net/sock.h,
	 * sk_acceptq_is_full()).
	 */
	if (length * (queue->fullest_limit + 1ULL) > queue->fullest_length * (limit + 1)) {
		queue->fullest_length = length;
		queue->fullest_limit = limit;
	}
}

/* Adds a row for a listening socket that has dropped connections (tcp_listendrop()). Most have not dropped any. */
static __always_inline void add_listener(__u64 netns, __u64 sk)
{
	static const struct tcp_listener fresh;
	struct tcp_listener *listener;
	__u32 drops = READ(struct sock, sk, sk_drops.counter);
	struct cgroup *cgroup;

	if (!drops)
		return;
	if (!take_row(netns, sk, listeners_each)) {
		walk.progress.listeners_full++;
		return;
	}
	bpf_map_update_elem(&tcp_listeners, &sk, &fresh, BPF_ANY);
	listener = bpf_map_lookup_elem(&tcp_listeners, &sk);
	if (!listener) {
		walk.progress.listeners_full++;
		return;
	}
	listener->walk = walk.progress.walk;
	listener->netns = netns;
	listener->drops = drops;
	listener->length = READ(struct sock, sk, sk_ack_backlog);
	listener->limit = READ(struct sock, sk, sk_max_ack_backlog);
	listener->port = READ(struct sock_common, sk, skc_num);
	listener->family = READ(struct sock_common, sk, skc_family);
	if (listener->family == FAMILY_IPV4)
		BPF_CORE_READ_INTO((__be32 *)listener->address, (struct sock_common *)sk, skc_rcv_saddr);
	else
		BPF_CORE_READ_INTO(&listener->address, (struct sock_common *)sk, skc_v6_rcv_saddr);
	if (bpf_core_field_exists(((struct sock *)0)->sk_cgrp_data)) {
		cgroup = BPF_CORE_READ((struct sock *)sk, sk_cgrp_data.cgroup);
		listener->cgroup = cgroup ? BPF_CORE_READ(cgroup, kn, id) : 0;
	}
}

static __always_inline void count_socket(__u64 sk)
{
	__u64 net = (__u64)READ(struct sock_common, sk, skc_net.net);
	__u64 netns = READ(struct net, net, net_cookie);
	__u32 state = READ(struct sock_common, sk, skc_state);
	bool is_small = state == STATE_TIME_WAIT;
	struct tcp_row *row;

	walk.progress.sockets++;
	if (!netns) {
		walk.progress.unreadable++;
		return;
	}
	if (state == STATE_LISTEN && walk.listeners_only) {
		add_listener(netns, sk);
		return;
	}
	row = row_of(netns);
	if (!row)
		return;
	/* The kernel replaces an orphaned socket in FIN_WAIT2 with a TIME_WAIT socket to save memory. */
	if (is_small)
		state = READ(struct inet_timewait_sock, sk, tw_substate);
	else if (state == STATE_LISTEN)
		add_accept_queue(netns, sk);
	else if (1U << (state & (TCP_STATES - 1)) & TCP_STATES_WITH_QUEUES)
		add_queues(row, sk);
	row->sockets[state & (TCP_STATES - 1)]++;
	if (!has_flow_rows)
		return;
	if (walk.listens && state == STATE_LISTEN)
		flow_take_listener(sk, netns);
	else if (walk.flows && state != STATE_LISTEN && state != STATE_NEW_SYN_RECV && !is_small)
		flow_take(sk, netns, state);
}
