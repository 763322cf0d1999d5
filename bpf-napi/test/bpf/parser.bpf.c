// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Programs for the arrays in packets.bpf.c. They count packets in a map of that object. */

#define PARSED 3

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} narrow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hashed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[2]);
} wide SEC(".maps");

SEC("cgroup_skb/egress")
int parse(struct __sk_buff *skb)
{
	__u32 which = PARSED;
	__u64 *value = bpf_map_lookup_elem(&counts, &which);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 1;
}

SEC("tc")
int answer_42(struct __sk_buff *skb)
{
	return 42;
}

SEC("tc")
int answer_43(struct __sk_buff *skb)
{
	return 43;
}

char LICENSE[] SEC("license") = "GPL";
