// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

const volatile bool filters_pods = false; /* true if a Pod filter is set; otherwise the verifier removes its code */

/* Cookies of the namespaces that the Pod filter includes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u8);
} filtered_netns SEC(".maps");

/* Call this as soon as the namespace is known, before counting or storing anything. */
static __always_inline bool passes_pod_filter(__u64 netns)
{
	return !filters_pods || bpf_map_lookup_elem(&filtered_netns, &netns);
}
