// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the connection tracking statistics of every network namespace: the number of table entries, and the counters
 * summed over the CPUs.
 */
#include "common/netns_walk.bpf.h"
#include "common/percpu.bpf.h"

struct conntrack_row {
	__u64 cookie;
	__u32 flags;
	__u32 complete; /* 0 if a read failed, in which case the other fields are incomplete */
	__u64 entries;
	__u64 found;
	__u64 invalid;
	__u64 insert;
	__u64 insert_failed;
	__u64 drop;
	__u64 early_drop;
	__u64 error;
	__u64 search_restart;
	__u64 clash_resolve;
	__u64 chain_too_long;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct conntrack_row);
} conntrack_rows SEC(".maps");

#define GENERIC_FIRST 3 /* first valid slot; the array overlaps the header of struct net_generic */
#define TABLE_ENTRIES 4
#define NAME_BYTES sizeof("nf_conntrack_count")

struct conntrack_walk {
	struct netns_walk netns; /* must be first because netns_walk_step() passes a pointer to it to the callback */
	__u64 anchor;
	__u32 cpus;
	__u32 slot;
};

struct conntrack_search {
	struct net_generic *generic;
	__u32 slot; /* 0 if nf_conntrack's slot was not found */
};

struct conntrack_sum {
	const void *stat;
	__u64 anchor;
	__u32 row;
};

static __always_inline void *generic_data(struct net_generic *generic, __u32 slot)
{
	void *data = NULL;

	if (slot < BPF_CORE_READ(generic, s.len))
		bpf_probe_read_kernel(&data, sizeof(data),
				      (void *)generic + bpf_core_field_offset(struct net_generic, ptr) +
					      slot * sizeof(data));
	return data;
}

/*
 * Returns whether a module's per-namespace data belongs to nf_conntrack. If it does, its sysctl table contains an entry
 * named nf_conntrack_count that points back to the data. In the data of other modules, the bytes read here are
 * arbitrary and do not match.
 */
static __always_inline bool is_conntrack(struct nf_conntrack_net *data)
{
	void *table = BPF_CORE_READ(data, sysctl_header, ctl_table);

#pragma unroll
	for (int i = 0; i < TABLE_ENTRIES; i++) {
		struct ctl_table *entry = table + i * bpf_core_type_size(struct ctl_table);
		char name[NAME_BYTES] = {};

		if (BPF_CORE_READ(entry, data) != (void *)data + bpf_core_field_offset(data->count))
			continue;
		bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(entry, procname));
		return bpf_strncmp(name, sizeof(name), "nf_conntrack_count") == 0;
	}
	return false;
}

static long try_slot(__u64 index, struct conntrack_search *search)
{
	void *data = generic_data(search->generic, GENERIC_FIRST + index);

	if (!data || !is_conntrack(data))
		return 0;
	search->slot = GENERIC_FIRST + index;
	return 1;
}

#define ADD(field, counter) \
	row->field += *(__u32 *)((void *)share + bpf_core_field_offset(struct ip_conntrack_stat, counter))

static long add_cpu(__u64 index, struct conntrack_sum *sum)
{
	__u32 share[32] = {}, size = bpf_core_type_size(struct ip_conntrack_stat);
	struct conntrack_row *row = bpf_map_lookup_elem(&conntrack_rows, &sum->row);
	__u64 offset;

	if (!row)
		return 1;
	if (size > sizeof(share))
		size = sizeof(share);
	if (!percpu_offset(index, sum->anchor, &offset) || bpf_probe_read_kernel(share, size, sum->stat + offset)) {
		row->complete = 0;
		return 1;
	}
	ADD(found, found);
	ADD(invalid, invalid);
	ADD(insert, insert);
	ADD(insert_failed, insert_failed);
	ADD(drop, drop);
	ADD(early_drop, early_drop);
	ADD(error, error);
	ADD(search_restart, search_restart);
	ADD(clash_resolve, clash_resolve);
	ADD(chain_too_long, chaintoolong);
	return 0;
}

static __always_inline bool write_row(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct conntrack_walk *walk = (struct conntrack_walk *)netns;
	__u32 index = netns->rows;
	struct conntrack_row *row = bpf_map_lookup_elem(&conntrack_rows, &index);
	struct nf_conntrack_net *data = generic_data(BPF_CORE_READ(net, gen), walk->slot);
	struct conntrack_sum sum = {.stat = BPF_CORE_READ(net, ct.stat), .anchor = walk->anchor, .row = index};
	__u32 entries = 0;

	if (!row)
		return false;
	__builtin_memset(row, 0, sizeof(*row));
	row->cookie = BPF_CORE_READ(net, net_cookie);
	row->flags = flags;
	row->complete = data && sum.stat && !bpf_core_read(&entries, sizeof(entries), &data->count.counter);
	row->entries = entries;
	bpf_loop(walk->cpus, add_cpu, &sum, 0);
	return true;
}

static long step(__u64 index, struct conntrack_walk *walk)
{
	return netns_walk_step(index, &walk->netns, write_row);
}

/* Returns the slot of nf_conntrack's data; 0 if nf_conntrack is not loaded or has no BTF. */
static __always_inline __u32 find_slot(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net_generic *generic = BPF_CORE_READ(task, nsproxy, net_ns, gen);
	struct conntrack_search search = {.generic = generic};

	if (!bpf_core_type_exists(struct nf_conntrack_net) || !bpf_core_type_exists(struct ip_conntrack_stat))
		return 0;
	bpf_loop(BPF_CORE_READ(generic, s.len), try_slot, &search, 0);
	return search.slot;
}

/*
 * Arguments: number of namespaces to skip, maximum number of rows, number of entries in percpu_cpus, whether to
 * continue after the previous slice. Returns an enum netns_walk_result, or 0 without nf_conntrack.
 */
SEC("raw_tp/sys_enter")
int conntrack_read(struct bpf_raw_tracepoint_args *ctx)
{
	struct conntrack_walk walk = {.cpus = ctx->args[2], .anchor = percpu_anchor_base(), .slot = find_slot()};

	if (!walk.slot)
		return 0;
	netns_walk_begin(&walk.netns, ctx->args[0], ctx->args[1], ctx->args[3]);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return netns_walk_result(&walk.netns);
}

char LICENSE[] SEC("license") = "GPL";
