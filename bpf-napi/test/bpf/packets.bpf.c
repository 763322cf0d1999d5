// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Packet programs for cgroups and test runs, and programs that call a program in an array. */

enum count { EGRESS, INGRESS, NOT_PLUGGED, PARSED, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps"), next_tc SEC(".maps");

static void count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &which);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* For cgroup programs, a packet starts at its IP header. */
static int is_udp(struct __sk_buff *skb)
{
	__u8 protocol = 0;

	bpf_skb_load_bytes(skb, 9, &protocol, sizeof(protocol));
	return protocol == IPPROTO_UDP;
}

SEC("cgroup_skb/egress")
int count_egress(struct __sk_buff *skb)
{
	if (is_udp(skb))
		count(EGRESS);
	return 1;
}

SEC("cgroup_skb/ingress")
int count_ingress(struct __sk_buff *skb)
{
	if (is_udp(skb))
		count(INGRESS);
	return 1;
}

SEC("cgroup_skb/egress")
int dispatch(struct __sk_buff *skb)
{
	if (!is_udp(skb))
		return 1;
	bpf_tail_call(skb, &next, 2);
	count(NOT_PLUGGED);
	return 1;
}

/* Calls the program in the slot that the first byte selects. Returns its result; 7 if the slot is empty. */
SEC("tc")
int dispatch_tc(struct __sk_buff *skb)
{
	__u8 place = 0;

	bpf_skb_load_bytes(skb, 0, &place, sizeof(place));
	bpf_tail_call(skb, &next_tc, place);
	return 7;
}

/* Makes the packet four bytes longer and returns its previous length. */
SEC("tc")
int lengthen(struct __sk_buff *skb)
{
	__u32 bytes = skb->len, end = 0xfeedbeef;

	if (bpf_skb_change_tail(skb, bytes + sizeof(end), 0) ||
	    bpf_skb_store_bytes(skb, bytes, &end, sizeof(end), 0))
		return -1;
	return bytes;
}

/* Returns the lower 32 bits of the cookie of the namespace in which the program runs. */
SEC("tc")
int cookie(struct __sk_buff *skb)
{
	return bpf_get_netns_cookie(skb);
}

/* A program of another type, which cannot be attached to a cgroup and does not process packets. */
SEC("raw_tp/sys_enter")
int no_packet(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
