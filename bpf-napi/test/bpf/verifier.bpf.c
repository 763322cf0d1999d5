// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Programs for tests of the verifier: one that a constant makes invalid, and some that take long to verify.
 */

const volatile bool read_out_of_bounds = false;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

SEC("raw_tp/sys_enter")
int refusable(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &zero);

	if (!value)
		return 0;
	/* The verifier checks this branch only if the constant is true. */
	return read_out_of_bounds ? value[4] : *value;
}

/* The verifier checks every iteration of the loop. */
static __always_inline int loop(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 sum = ctx->args[0];
	int i;

	for (i = 0; i < 100000; i++)
		sum = sum * 31 + (sum >> 7);
	return sum;
}

SEC("raw_tp/sys_enter")
int slow_1(struct bpf_raw_tracepoint_args *ctx)
{
	return loop(ctx);
}

SEC("raw_tp/sys_enter")
int slow_2(struct bpf_raw_tracepoint_args *ctx)
{
	return loop(ctx);
}

SEC("raw_tp/sys_enter")
int slow_3(struct bpf_raw_tracepoint_args *ctx)
{
	return loop(ctx);
}

char LICENSE[] SEC("license") = "GPL";
