// SPDX-License-Identifier: GPL-2.0-only
/* Lets every packet of a cgroup pass, and does nothing else. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int empty_sent(void *c)
{
	return 1;
}

SEC("cgroup_skb/ingress")
int empty_received(void *c)
{
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
