// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks up logged connections in the table of connection tracking, to find the ends behind translated addresses
 * (ADR 42). Only programs that process packets may do so (kernel: net/netfilter/nf_conntrack_bpf.c). This one is
 * attached to nothing: user space runs it once after each walk, in the network namespace whose table is to be searched.
 */
#include "common/flow_log.bpf.h"
#include "common/kernel.h"
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <stdbool.h>

#define CURRENT_NETNS (-1) /* kernel: include/uapi/linux/bpf.h, BPF_F_CURRENT_NETNS */

/* Kernel: net/netfilter/nf_conntrack_bpf.c, struct bpf_ct_opts. Later kernels also accept this size. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

/* Not weak, because on 6.1 a weak reference to a function of a module is not resolved. */
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *conn) __ksym;

struct search {
	struct __sk_buff *skb;
	__u64 tail;
};

static __always_inline bool is_ipv4(const __u8 *address)
{
	const __u32 *words = (const void *)address;

	return !words[0] && !words[1] && words[2] == 0xffff0000;
}

static __always_inline struct nf_conn *find(struct __sk_buff *skb, const struct flow_connection *entry,
					    struct bpf_ct_opts *opts)
{
	struct bpf_sock_tuple tuple = {};

	if (is_ipv4(entry->local)) {
		tuple.ipv4.saddr = *(__u32 *)(entry->local + 12);
		tuple.ipv4.daddr = *(__u32 *)(entry->key.peer + 12);
		tuple.ipv4.sport = __builtin_bswap16(entry->local_port);
		tuple.ipv4.dport = __builtin_bswap16(entry->peer_port);
		return bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), opts, sizeof(*opts));
	}
	__builtin_memcpy(tuple.ipv6.saddr, entry->local, 16);
	__builtin_memcpy(tuple.ipv6.daddr, entry->key.peer, 16);
	tuple.ipv6.sport = __builtin_bswap16(entry->local_port);
	tuple.ipv6.dport = __builtin_bswap16(entry->peer_port);
	return bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv6), opts, sizeof(*opts));
}

/* Stores the source of the packets that the other end sends. */
static __always_inline void store_other(struct flow_connection *entry, const union nf_inet_addr *source)
{
	__u32 *words = (void *)entry->other;

	if (is_ipv4(entry->local)) {
		words[0] = words[1] = 0;
		words[2] = 0xffff0000;
		words[3] = source->all[0];
		return;
	}
	for (int word = 0; word < 4; word++)
		words[word] = source->all[word];
}

static long look_up(__u64 nth, struct search *search)
{
	struct bpf_ct_opts opts = {.netns_id = CURRENT_NETNS, .l4proto = IPPROTO_TCP};
	__u64 index = search->tail + nth;
	__u32 place = index % FLOW_LOG_ENTRIES;
	struct flow_connection *entry = bpf_map_lookup_elem(&flow_log, &place);
	struct nf_conn *conn;

	if (!entry)
		return 1;
	if (entry->number != index + 1)
		return 0;
	conn = find(search->skb, entry, &opts);
	if (!conn) {
		entry->found = FLOW_FOUND_NOTHING;
		return 0;
	}
	entry->state = conn->proto.tcp.state;
	if (opts.dir) {
		store_other(entry, &conn->tuplehash[0].tuple.src.u3);
		entry->found = FLOW_FOUND_REPLY;
	} else {
		store_other(entry, &conn->tuplehash[1].tuple.src.u3);
		entry->found = FLOW_FOUND_ORIGINAL;
	}
	bpf_ct_release(conn);
	return 0;
}

/* Looks up all entries of the log that user space has not read. */
SEC("tc")
int flow_look_up(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *head = bpf_map_lookup_elem(&flow_log_head, &zero), *tail = bpf_map_lookup_elem(&flow_log_tail, &zero);
	struct search search = {.skb = skb};
	__u64 count;

	if (!head || !tail)
		return 0;
	search.tail = *tail;
	count = *head - search.tail;
	if (count > FLOW_LOG_ENTRIES)
		count = FLOW_LOG_ENTRIES;
	bpf_loop(count, look_up, &search, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
