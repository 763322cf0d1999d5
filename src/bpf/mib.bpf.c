// SPDX-License-Identifier: GPL-2.0-only
/* The SNMP counters of every network namespace, summed over CPUs here, so that a row is small on any machine. */
#include "common/netns_walk.bpf.h"
#include "common/percpu.bpf.h"

/* Types of ICMP messages, received and sent, that the kernel's files name. */
#define ICMP_TYPES 19 /* 0 to 18 */
#define ICMP6_ERRORS 5 /* 0 to 4 */
#define ICMP6_INFO_FIRST 128
#define ICMP6_INFOS 16 /* 128 to 143 */
#define ICMP_SENT 256 /* where the types sent begin */

/*
 * Room for each per-CPU table, in counters: the kernel of 6.18 has 16, 136, 10, 38, 30 and 7. What a newer one
 * has more is left out, never read past its own size.
 */
struct mib_values {
	__u64 tcp[24];
	__u64 tcpext[168];
	__u64 udp[16];
	__u64 udp6[16];
	__u64 udplite[16];
	__u64 udplite6[16];
	__u64 ip[48];
	__u64 ip6[48];
	__u64 icmp[40];
	__u64 icmp6[16];
};

/* What a namespace has only once, not by CPU. */
struct mib_once {
	__u64 ip_settings[2]; /* forwarding as net/snmp shows it, 1 or 2; default TTL */
	__u64 icmp_received[ICMP_TYPES];
	__u64 icmp_sent[ICMP_TYPES];
	__u64 icmp6_errors_received[ICMP6_ERRORS];
	__u64 icmp6_errors_sent[ICMP6_ERRORS];
	__u64 icmp6_infos_received[ICMP6_INFOS];
	__u64 icmp6_infos_sent[ICMP6_INFOS];
};

/* Bits of mib_row.tables. */
enum mib_table {
	MIB_TCP,
	MIB_TCPEXT,
	MIB_UDP,
	MIB_UDP6,
	MIB_UDPLITE,
	MIB_UDPLITE6,
	MIB_IP,
	MIB_IP6,
	MIB_ICMP,
	MIB_ICMP6,
	MIB_IP_SETTINGS,
	MIB_ICMP_TYPES,
	MIB_ICMP6_TYPES,
};

#define MIB_ALL_PER_CPU ((1U << MIB_IP_SETTINGS) - 1)

struct mib_row {
	__u64 cookie;
	__u32 flags;
	__u32 tables; /* a bit for each table that was read whole, on every CPU; the others hold leftovers */
	struct mib_once once;
	struct mib_values values;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct mib_row);
} mib_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mib_values);
} mib_scratch SEC(".maps");

struct mib_walk {
	struct netns_walk netns; /* first: the walk's callback gets a pointer to it */
	__u64 anchor;
	__u32 cpus;
};

struct mib_sum {
	__u64 tcp, tcpext, udp, udp6, udplite, udplite6, ip, ip6, icmp, icmp6; /* addresses; 0: there is none */
	__u64 anchor;
	__u32 row;
};

/* In a map and not on the stack, where the verifier of 7.2 follows every set of tables that may be missing. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mib_sum);
} mib_sums SEC(".maps");

/* One CPU's share of a table. What is not read leaves something behind, and the table's bit says so. */
#define READ(table, bit, type)                                                                                 \
	{                                                                                                      \
		__u32 size = bpf_core_type_size(type);                                                         \
		if (size > sizeof(scratch->table))                                                             \
			size = sizeof(scratch->table);                                                         \
		if (!sum->table || bpf_probe_read_kernel(scratch->table, size, (void *)(sum->table + offset))) \
			row->tables &= ~(1U << (bit));                                                         \
	}

static long add_cpu(__u64 index, void *unused)
{
	__u32 zero = 0;
	struct mib_sum *sum = bpf_map_lookup_elem(&mib_sums, &zero);
	struct mib_values *scratch = bpf_map_lookup_elem(&mib_scratch, &zero);
	struct mib_row *row = sum ? bpf_map_lookup_elem(&mib_rows, &sum->row) : NULL;
	__u64 offset, *sums;
	const __u64 *shares;

	if (!sum || !row)
		return 1;
	if (!scratch || !percpu_offset(index, sum->anchor, &offset)) {
		row->tables = 0;
		return 1;
	}
	READ(tcp, MIB_TCP, struct tcp_mib)
	READ(tcpext, MIB_TCPEXT, struct linux_mib)
	READ(udp, MIB_UDP, struct udp_mib)
	READ(udp6, MIB_UDP6, struct udp_mib)
	READ(udplite, MIB_UDPLITE, struct udp_mib)
	READ(udplite6, MIB_UDPLITE6, struct udp_mib)
	READ(ip, MIB_IP, struct ipstats_mib)
	READ(ip6, MIB_IP6, struct ipstats_mib)
	READ(icmp, MIB_ICMP, struct icmp_mib)
	READ(icmp6, MIB_ICMP6, struct icmpv6_mib)
	if (index == 0) {
		bpf_probe_read_kernel(&row->values, sizeof(row->values), scratch);
		return 0;
	}
	sums = (__u64 *)&row->values;
	shares = (__u64 *)scratch;
	/* Straight code: the verifier would follow each turn of a loop in each state. */
#pragma clang loop unroll(full)
	for (int i = 0; i < sizeof(struct mib_values) / sizeof(__u64); i++)
		sums[i] += shares[i];
	return 0;
}

#define FIND(table, field) \
	sum->table = bpf_core_field_exists(net->mib.field) ? (__u64)BPF_CORE_READ(net, mib.field) : 0;

/* Copies a part of an array of messages by type. */
#define COPY(target, messages, first) \
	(bpf_probe_read_kernel(target, sizeof(target), (messages) + (first) * sizeof(__u64)) == 0)

static __always_inline void read_once(struct net *net, struct mib_row *row)
{
	struct mib_once *once = &row->once;
	struct ipv4_devconf *settings = BPF_CORE_READ(net, ipv4.devconf_all);
	const void *icmp = BPF_CORE_READ(net, mib.icmpmsg_statistics);
	const void *icmp6 = NULL;
	int forwarding; /* IPV4_DEVCONF_FORWARDING is the first setting */

	if (bpf_core_field_exists(net->mib.icmpv6msg_statistics))
		icmp6 = BPF_CORE_READ(net, mib.icmpv6msg_statistics);
	if (BPF_CORE_READ_INTO(&forwarding, settings, data[0]) == 0) {
		once->ip_settings[0] = forwarding ? 1 : 2;
		once->ip_settings[1] = BPF_CORE_READ(net, ipv4.sysctl_ip_default_ttl);
		row->tables |= 1U << MIB_IP_SETTINGS;
	}
	if (COPY(once->icmp_received, icmp, 0) && COPY(once->icmp_sent, icmp, ICMP_SENT))
		row->tables |= 1U << MIB_ICMP_TYPES;
	if (COPY(once->icmp6_errors_received, icmp6, 0) && COPY(once->icmp6_errors_sent, icmp6, ICMP_SENT) &&
	    COPY(once->icmp6_infos_received, icmp6, ICMP6_INFO_FIRST) &&
	    COPY(once->icmp6_infos_sent, icmp6, ICMP_SENT + ICMP6_INFO_FIRST))
		row->tables |= 1U << MIB_ICMP6_TYPES;
}

static __always_inline bool write_row(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct mib_walk *walk = (struct mib_walk *)netns;
	__u32 index = netns->rows, zero = 0;
	struct mib_row *row = bpf_map_lookup_elem(&mib_rows, &index);
	struct mib_sum *sum = bpf_map_lookup_elem(&mib_sums, &zero);

	if (!row || !sum)
		return false;
	sum->anchor = walk->anchor;
	sum->row = index;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	/* Bits are cleared where a table is missing: the verifier would follow every set of bits that a local could
	 * hold. */
	row->tables = MIB_ALL_PER_CPU;
	FIND(tcp, tcp_statistics)
	FIND(tcpext, net_statistics)
	FIND(udp, udp_statistics)
	FIND(udp6, udp_stats_in6)
	FIND(udplite, udplite_statistics)
	FIND(udplite6, udplite_stats_in6)
	FIND(ip, ip_statistics)
	FIND(ip6, ipv6_statistics)
	FIND(icmp, icmp_statistics)
	FIND(icmp6, icmpv6_statistics)
	read_once(net, row);
	bpf_loop(walk->cpus, add_cpu, NULL, 0);
	return true;
}

static long step(__u64 index, struct mib_walk *walk)
{
	return netns_walk_step(index, &walk->netns, write_row);
}

/* args: namespaces to skip, rows to write, CPUs in percpu_cpus. */
SEC("raw_tp/sys_enter")
int mib_read(struct bpf_raw_tracepoint_args *ctx)
{
	struct mib_walk walk = {.cpus = ctx->args[2], .anchor = percpu_anchor_base()};

	netns_walk_begin(&walk.netns, ctx->args[0], ctx->args[1]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk.netns);
}

char LICENSE[] SEC("license") = "GPL";
