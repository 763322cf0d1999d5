// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Programs with different hooks: one that any process can trigger, one without a hook, and one whose hook
 * does not exist.
 */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} execs SEC(".maps");

SEC("tp_btf/sched_process_exec")
int count_exec(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&execs, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

SEC("tp_btf/no_such_tracepoint")
int no_such_hook(void *ctx)
{
	return 0;
}

SEC("socket")
int no_hook(void *ctx)
{
	return 0;
}

SEC("fentry/do_nanosleep")
int function_hook(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
