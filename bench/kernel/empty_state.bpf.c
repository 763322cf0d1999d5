// SPDX-License-Identifier: GPL-2.0-only
/* An empty program at the hook of src/bpf/probes/tcp_ends.bpf.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tp_btf/inet_sock_set_state")
int empty_state(void *c)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
