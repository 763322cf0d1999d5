// SPDX-License-Identifier: GPL-2.0-only
/* The SNMP counters of every network namespace, summed over CPUs here, so that a row is small on any machine. */
#include "common/netns_walk.bpf.h"

/*
 * Room for each table, in counters: the kernel of 6.18 has 16, 136 and 10. What a newer one has more
 * is left out, never read past its own size.
 */
struct mib_values {
	__u64 tcp[24];
	__u64 tcpext[168];
	__u64 udp[16];
	__u64 udp6[16];
};

enum mib_table {
	MIB_TCP,
	MIB_TCPEXT,
	MIB_UDP,
	MIB_UDP6,
};

struct mib_row {
	__u64 cookie;
	__u32 flags;
	__u32 tables; /* a bit for each table that was read on every CPU; the others hold leftovers */
	struct mib_values values;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct mib_row);
} mib_rows SEC(".maps");

/* The CPUs to sum. A CPU that is offline does not count any more: its share is read once and kept. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} mib_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mib_values);
} mib_scratch SEC(".maps");

/*
 * Where CPU c keeps its share of a per-CPU variable is base + offset(c), and offset(c) is not exported.
 * It is the distance between the address that bpf_map_lookup_percpu_elem() gives for CPU c of this map
 * and the map's own per-CPU pointer.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mib_anchor SEC(".maps");

struct mib_walk {
	struct netns_walk netns; /* first: the walk's callback gets a pointer to it */
	__u64 anchor;
	__u32 cpus;
};

struct mib_sum {
	const void *tcp, *tcpext, *udp, *udp6;
	__u64 anchor;
	__u32 row;
};

/* Unrolled: the verifier would follow each turn of a loop, for each table, in each state. */
static __always_inline void add_values(__u64 *sums, const __u64 *values, int count)
{
#pragma unroll
	for (int i = 0; i < count; i++)
		sums[i] += values[i];
}

/* The first CPU's values are read into the row itself, those of the others are added to them. */
#define ADD(table, bit, type)                                                                                     \
	if (sum->table) {                                                                                         \
		__u32 size = bpf_core_type_size(type);                                                            \
		if (size > sizeof(row->values.table))                                                             \
			size = sizeof(row->values.table);                                                         \
		__u64 *target = index == 0 ? row->values.table : scratch->table;                                  \
		if (bpf_probe_read_kernel(target, size, sum->table + offset))                                     \
			row->tables &= ~(1U << (bit));                                                            \
		else if (index > 0)                                                                               \
			add_values(row->values.table, scratch->table, sizeof(row->values.table) / sizeof(__u64)); \
	}

/* The verifier allows no arithmetic on a map's address; stored in a map and loaded again it is a number. */
static __always_inline __u64 number_of(const void *pointer)
{
	__u32 zero = 0;
	volatile __u64 *cell = bpf_map_lookup_elem(&mib_anchor, &zero);

	if (!cell)
		return 0;
	*cell = (__u64)pointer;
	return *cell;
}

static long add_cpu(__u64 index, struct mib_sum *sum)
{
	__u32 zero = 0, nth = index;
	__u32 *cpu = bpf_map_lookup_elem(&mib_cpus, &nth);
	struct mib_values *scratch = bpf_map_lookup_elem(&mib_scratch, &zero);
	struct mib_row *row = bpf_map_lookup_elem(&mib_rows, &sum->row);
	const void *base;
	__u64 offset;

	if (!row)
		return 1;
	base = cpu ? bpf_map_lookup_percpu_elem(&mib_anchor, &zero, *cpu) : NULL;
	if (!scratch || !base) {
		row->tables = 0;
		return 1;
	}
	offset = number_of(base) - sum->anchor;
	ADD(tcp, MIB_TCP, struct tcp_mib)
	ADD(tcpext, MIB_TCPEXT, struct linux_mib)
	ADD(udp, MIB_UDP, struct udp_mib)
	ADD(udp6, MIB_UDP6, struct udp_mib)
	return 0;
}

#define FIND(table, bit, field)                            \
	if (bpf_core_field_exists(net->mib.field))         \
		sum.table = BPF_CORE_READ(net, mib.field); \
	if (sum.table)                                     \
		row->tables |= 1U << (bit);

static __always_inline bool write_row(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct mib_walk *walk = (struct mib_walk *)netns;
	__u32 index = netns->rows;
	struct mib_row *row = bpf_map_lookup_elem(&mib_rows, &index);
	struct mib_sum sum = {.anchor = walk->anchor, .row = index};

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	/* Set and cleared in the row: the verifier would follow every value that a local could take. */
	row->tables = 0;
	FIND(tcp, MIB_TCP, tcp_statistics)
	FIND(tcpext, MIB_TCPEXT, net_statistics)
	FIND(udp, MIB_UDP, udp_statistics)
	FIND(udp6, MIB_UDP6, udp_stats_in6)
	bpf_loop(walk->cpus, add_cpu, &sum, 0);
	return true;
}

static long step(__u64 index, struct mib_walk *walk)
{
	return netns_walk_step(index, &walk->netns, write_row);
}

/* args: namespaces to skip, rows to write, CPUs in mib_cpus. */
SEC("raw_tp/sys_enter")
int mib_read(struct bpf_raw_tracepoint_args *ctx)
{
	struct mib_walk walk = {.cpus = ctx->args[2]};
	struct bpf_array *anchor = (void *)number_of(&mib_anchor);

	walk.anchor = (__u64)BPF_CORE_READ(anchor, pptrs[0]);
	netns_walk_begin(&walk.netns, ctx->args[0], ctx->args[1]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk.netns);
}

char LICENSE[] SEC("license") = "GPL";
