// SPDX-License-Identifier: GPL-2.0-only
/* Reads the socket counts that net/sockstat and net/sockstat6 show, for every network namespace. */
#include "common/netns_walk.bpf.h"
#include "common/percpu.bpf.h"
#include "common/shared.bpf.h"

#define PROTOCOLS_MAX 256 /* maximum number of registered protocols; kernels have a few dozen */

/* Protocols, in the same order as NAMES. */
enum sock_protocol {
	PROTOCOL_TCP,
	PROTOCOL_UDP,
	PROTOCOL_RAW,
	PROTOCOL_TCP6,
	PROTOCOL_UDP6,
	PROTOCOL_RAW6,
};

#define PROTOCOLS (PROTOCOL_RAW6 + 1)

/* Special value for the index of a protocol in the kernel's per-CPU counts. */
enum sock_place {
	SOCK_PLACE_NONE = ~0U, /* the kernel does not support the protocol */
};

enum sock_fragments {
	FRAGMENTS_IPV4,
	FRAGMENTS_IPV6,
};

SHARED_ENUM(sock_protocol);
SHARED_ENUM(sock_place);
SHARED_ENUM(sock_fragments);

struct sock_sums {
	__u64 used;
	__u64 in_use[PROTOCOLS];
};

struct sock_row {
	__u64 cookie;
	__u32 flags;
	__u32 complete; /* nonzero if every CPU was read */
	__u64 time_wait;
	__u64 fragment_queues[FRAGMENTS_IPV6 + 1];
	__u64 fragment_bytes[FRAGMENTS_IPV6 + 1];
	struct sock_sums sums;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sock_row);
} sock_rows SEC(".maps");

/* Index of each protocol in the kernel's per-CPU counts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROTOCOLS);
	__type(key, __u32);
	__type(value, __u32);
} sock_places SEC(".maps");

static const char NAMES[PROTOCOLS][8] = {"TCP", "UDP", "RAW", "TCPv6", "UDPv6", "RAWv6"};

static __always_inline bool equal(const char *name, const char *wanted)
{
#pragma unroll
	for (int i = 0; i < sizeof(NAMES[0]); i++) {
		if (name[i] != wanted[i])
			return false;
		if (!name[i])
			return true;
	}
	return false;
}

struct protocol_walk {
	struct list_head *position, *start;
};

static long protocol_step(__u64 step, struct protocol_walk *walk)
{
	struct list_head *position = walk->position;
	struct proto *protocol = (void *)position - bpf_core_field_offset(struct proto, node);
	char name[sizeof(NAMES[0])] = {};
	__u32 place;

	if (step && position == walk->start)
		return 1;
	walk->position = BPF_CORE_READ(position, next);
	place = BPF_CORE_READ(protocol, inuse_idx);
	bpf_probe_read_kernel(name, sizeof(name), protocol->name);
#pragma unroll
	for (__u32 i = 0; i < PROTOCOLS; i++) {
		__u32 nth = i;

		if (equal(name, NAMES[i]))
			bpf_map_update_elem(&sock_places, &nth, &place, BPF_ANY);
	}
	return 0;
}

/*
 * Finds the indices of the protocols. The kernel keeps all protocols in one list, which can be reached from the
 * protocol of any socket. The walk starts at the rtnetlink socket of the namespace. It may treat the list head as a
 * protocol because the bytes there match none of the names.
 */
SEC("raw_tp/sys_enter")
int sock_protocols(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct proto *first = BPF_CORE_READ(task, nsproxy, net_ns, rtnl, __sk_common.skc_prot);
	struct protocol_walk walk = {};

#pragma unroll
	for (__u32 i = 0; i < PROTOCOLS; i++) {
		__u32 nth = i, none = SOCK_PLACE_NONE;

		bpf_map_update_elem(&sock_places, &nth, &none, BPF_ANY);
	}
	walk.start = walk.position = (void *)first + bpf_core_field_offset(struct proto, node);
	return bpf_loop(PROTOCOLS_MAX, protocol_step, &walk, 0);
}

struct sock_walk {
	struct netns_walk netns; /* must be first because netns_walk_step() passes a pointer to it to the callback */
	__u64 anchor;
	__u32 cpus;
};

struct sock_sum {
	const struct prot_inuse *counts;
	__u64 anchor;
	__u32 row;
};

static long add_cpu(__u64 index, struct sock_sum *sum)
{
	struct sock_row *row = bpf_map_lookup_elem(&sock_rows, &sum->row);
	const struct prot_inuse *share;
	__u64 offset;
	int count;

	if (!row)
		return 1;
	if (!percpu_offset(index, sum->anchor, &offset)) {
		row->complete = 0;
		return 1;
	}
	share = (const void *)sum->counts + offset;
	if (BPF_CORE_READ_INTO(&count, share, all)) {
		row->complete = 0;
		return 1;
	}
	row->sums.used += count;
#pragma unroll
	for (__u32 i = 0; i < PROTOCOLS; i++) {
		__u32 nth = i;
		__u32 *place = bpf_map_lookup_elem(&sock_places, &nth);

		if (!place || *place == SOCK_PLACE_NONE)
			continue;
		if (bpf_probe_read_kernel(&count, sizeof(count), &share->val[*place]))
			row->complete = 0;
		else
			row->sums.in_use[i] += count;
	}
	return 0;
}

static __always_inline bool write_row(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct sock_walk *walk = (struct sock_walk *)netns;
	__u32 index = netns->rows;
	struct sock_row *row = bpf_map_lookup_elem(&sock_rows, &index);
	struct sock_sum sum = {.anchor = walk->anchor, .row = index};

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	row->complete = 1;
	/* Excludes the reference that the kernel itself holds. */
	row->time_wait = BPF_CORE_READ(net, ipv4.tcp_death_row.tw_refcount.refs.counter) - 1;
	row->fragment_queues[FRAGMENTS_IPV4] = BPF_CORE_READ(net, ipv4.fqdir, rhashtable.nelems.counter);
	row->fragment_bytes[FRAGMENTS_IPV4] = BPF_CORE_READ(net, ipv4.fqdir, mem.counter);
	row->fragment_queues[FRAGMENTS_IPV6] = BPF_CORE_READ(net, ipv6.fqdir, rhashtable.nelems.counter);
	row->fragment_bytes[FRAGMENTS_IPV6] = BPF_CORE_READ(net, ipv6.fqdir, mem.counter);
	__builtin_memset(&row->sums, 0, sizeof(row->sums));
	sum.counts = BPF_CORE_READ(net, core.prot_inuse);
	bpf_loop(walk->cpus, add_cpu, &sum, 0);
	return true;
}

static long step(__u64 index, struct sock_walk *walk)
{
	return netns_walk_step(index, &walk->netns, write_row);
}

/*
 * Arguments: number of namespaces to skip, maximum number of rows, number of entries in percpu_cpus, whether to
 * continue after the previous slice. Returns an enum netns_walk_result.
 */
SEC("raw_tp/sys_enter")
int sock_read(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock_walk walk = {.cpus = ctx->args[2], .anchor = percpu_anchor_base()};

	netns_walk_begin(&walk.netns, ctx->args[0], ctx->args[1], ctx->args[3]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk.netns);
}

char LICENSE[] SEC("license") = "GPL";
