// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "percpu.bpf.h"
#include "shared.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * SNMP counters of a network namespace. The BPF program sums them over the CPUs, so the size of a row does not depend
 * on the number of CPUs.
 */

/* ICMP message types that have a name in the kernel's files. */
#define ICMP_TYPES 19 /* 0 to 18 */
#define ICMP6_ERRORS 5 /* 0 to 4 */
#define ICMP6_INFO_FIRST 128
#define ICMP6_INFOS 16 /* 128 to 143 */
#define ICMP_SENT 256 /* index of the first sent type in the kernel's arrays, after the received types */

/*
 * Copies of the kernel's per-CPU tables, with space for future counters. Linux 6.18 has 16 tcp, 136 tcpext, 10 udp, 38
 * ip, 30 icmp and 7 icmp6 counters. Counters that do not fit are ignored, and no table is read beyond its actual size.
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

enum mib_ip_setting {
	IP_SETTING_FORWARDING, /* 1 or 2, as shown in net/snmp */
	IP_SETTING_DEFAULT_TTL,
};

#define IP_SETTINGS (IP_SETTING_DEFAULT_TTL + 1)

/* Values that are not per-CPU. */
struct mib_once {
	__u64 ip_settings[IP_SETTINGS];
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

SHARED_ENUM(mib_table);
SHARED_ENUM(mib_ip_setting);

#define MIB_ALL_PER_CPU ((1U << MIB_IP_SETTINGS) - 1)

struct mib_row {
	__u64 cookie;
	__u32 flags;
	__u32 tables; /* bits of the tables that could be read on every CPU; other tables are invalid */
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

struct mib_sum {
	const void *tcp, *tcpext, *udp, *udp6, *udplite, *udplite6, *ip, *ip6, *icmp, *icmp6;
	__u64 anchor;
	__u32 row;
};

/* Reads one CPU's values of a table. If the read fails, the values are stale, so the table's bit is cleared. */
#define MIB_READ(table, bit, type)                                                                   \
	{                                                                                            \
		__u32 size = bpf_core_type_size(type);                                               \
		if (size > sizeof(scratch->table))                                                   \
			size = sizeof(scratch->table);                                               \
		if (!sum->table || bpf_probe_read_kernel(scratch->table, size, sum->table + offset)) \
			row->tables &= ~(1U << (bit));                                               \
	}

/*
 * Adds the values of the nth CPU to the row; returns 1 if the CPU's offset is unknown. As a global function, it is
 * verified only once and not in each iteration of the calling loop, which would exceed the limits of the verifier of
 * Linux 7.2.
 */
__noinline int mib_add_share(__u32 index, struct mib_sum *sum)
{
	__u32 zero = 0;
	struct mib_values *scratch = bpf_map_lookup_elem(&mib_scratch, &zero);
	struct mib_row *row;
	__u64 offset, *sums;
	const __u64 *shares;
	__u32 place;

	if (!sum)
		return 1;
	place = sum->row;
	row = bpf_map_lookup_elem(&mib_rows, &place);
	if (!row)
		return 1;
	if (!scratch || !percpu_offset(index, sum->anchor, &offset)) {
		row->tables = 0;
		return 1;
	}
	MIB_READ(tcp, MIB_TCP, struct tcp_mib)
	MIB_READ(tcpext, MIB_TCPEXT, struct linux_mib)
	MIB_READ(udp, MIB_UDP, struct udp_mib)
	MIB_READ(udp6, MIB_UDP6, struct udp_mib)
	MIB_READ(udplite, MIB_UDPLITE, struct udp_mib)
	MIB_READ(udplite6, MIB_UDPLITE6, struct udp_mib)
	MIB_READ(ip, MIB_IP, struct ipstats_mib)
	MIB_READ(ip6, MIB_IP6, struct ipstats_mib)
	MIB_READ(icmp, MIB_ICMP, struct icmp_mib)
	MIB_READ(icmp6, MIB_ICMP6, struct icmpv6_mib)
	if (index == 0) {
		bpf_probe_read_kernel(&row->values, sizeof(row->values), scratch);
		return 0;
	}
	sums = (__u64 *)&row->values;
	shares = (__u64 *)scratch;
	/* Unrolled because the verifier would check every iteration of a loop separately. */
#pragma clang loop unroll(full)
	for (int i = 0; i < sizeof(struct mib_values) / sizeof(__u64); i++)
		sums[i] += shares[i];
	return 0;
}

static long mib_add_cpu(__u64 index, struct mib_sum *sum)
{
	int stop = mib_add_share(index, sum);

	/*
	 * Without the barrier, clang 19 infers the result from the function body and removes the comparison, which the
	 * verifier needs to prove that the result is 0 or 1.
	 */
	barrier_var(stop);
	return stop ? 1 : 0;
}

#define MIB_FIND(table, field)                     \
	if (bpf_core_field_exists(net->mib.field)) \
		sum.table = BPF_CORE_READ(net, mib.field);

/* Copies a section of a message count array, which is indexed by type; returns false on failure. */
#define MIB_COPY(target, messages, first) \
	(bpf_probe_read_kernel(target, sizeof(target), (messages) + (first) * sizeof(__u64)) == 0)

static __always_inline void mib_read_once(struct net *net, struct mib_row *row)
{
	struct mib_once *once = &row->once;
	struct ipv4_devconf *settings = BPF_CORE_READ(net, ipv4.devconf_all);
	const void *icmp = BPF_CORE_READ(net, mib.icmpmsg_statistics);
	const void *icmp6 = NULL;
	int forwarding; /* IPV4_DEVCONF_FORWARDING is the first setting */

	if (bpf_core_field_exists(net->mib.icmpv6msg_statistics))
		icmp6 = BPF_CORE_READ(net, mib.icmpv6msg_statistics);
	if (BPF_CORE_READ_INTO(&forwarding, settings, data[0]) == 0) {
		once->ip_settings[IP_SETTING_FORWARDING] = forwarding ? 1 : 2;
		once->ip_settings[IP_SETTING_DEFAULT_TTL] = BPF_CORE_READ(net, ipv4.sysctl_ip_default_ttl);
		row->tables |= 1U << MIB_IP_SETTINGS;
	}
	if (MIB_COPY(once->icmp_received, icmp, 0) && MIB_COPY(once->icmp_sent, icmp, ICMP_SENT))
		row->tables |= 1U << MIB_ICMP_TYPES;
	if (MIB_COPY(once->icmp6_errors_received, icmp6, 0) && MIB_COPY(once->icmp6_errors_sent, icmp6, ICMP_SENT) &&
	    MIB_COPY(once->icmp6_infos_received, icmp6, ICMP6_INFO_FIRST) &&
	    MIB_COPY(once->icmp6_infos_sent, icmp6, ICMP_SENT + ICMP6_INFO_FIRST))
		row->tables |= 1U << MIB_ICMP6_TYPES;
}

/* CPUs whose values are summed by a walk over namespaces. */
struct mib_cpus {
	__u64 anchor; /* percpu_anchor_base() */
	__u32 count; /* number of entries in percpu_cpus */
};

/* Fills a row of mib_rows; returns false if the row does not exist. */
static __always_inline bool mib_write(__u32 index, struct net *net, __u32 flags, const struct mib_cpus *cpus)
{
	struct mib_row *row = bpf_map_lookup_elem(&mib_rows, &index);
	struct mib_sum sum = {.anchor = cpus->anchor, .row = index};

	if (!row)
		return false;
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	/*
	 * Start with all bits set; the bits of missing tables are cleared later. The bits are stored in the row because
	 * the verifier would explore every combination of them in a local variable.
	 */
	row->tables = MIB_ALL_PER_CPU;
	MIB_FIND(tcp, tcp_statistics)
	MIB_FIND(tcpext, net_statistics)
	MIB_FIND(udp, udp_statistics)
	MIB_FIND(udp6, udp_stats_in6)
	MIB_FIND(udplite, udplite_statistics)
	MIB_FIND(udplite6, udplite_stats_in6)
	MIB_FIND(ip, ip_statistics)
	MIB_FIND(ip6, ipv6_statistics)
	MIB_FIND(icmp, icmp_statistics)
	MIB_FIND(icmp6, icmpv6_statistics)
	mib_read_once(net, row);
	bpf_loop(cpus->count, mib_add_cpu, &sum, 0);
	return true;
}
