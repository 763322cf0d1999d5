// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the packets that the kernel frees without delivering them, by
 * namespace, reason and kernel function, to check the agent's counts. The
 * program shares no code with the agent, and identifies a namespace by its
 * inode number.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	possible_net_t nd_net;
};
struct sock_common {
	unsigned short skc_family;
	possible_net_t skc_net;
};
struct sock {
	struct sock_common __sk_common;
};
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	__be16 protocol;
	__u16 network_header;
	unsigned int len;
	unsigned char *head;
};
#pragma clang attribute pop

struct free_key {
	__u64 place;
	__u32 netns; /* where neither device nor socket tells: the second byte of the
			source, if it is one of ours */
	__u32 reason;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct free_key);
	__type(value, __u64);
} frees SEC(".maps");

/*
 * Range of the subnets in the tests' addresses, which begin with 10.<subnet> or
 * fd<subnet>.
 */
const volatile __u8 first_subnet = 0;
const volatile __u8 last_subnet = 0;
const volatile __u32 no_reason = 0;

#define FAMILY_INET 2
#define FAMILY_INET6 10
#define FAMILY_PACKET 17

static __always_inline __u32 netns_of(struct sk_buff *skb, struct sock *receiver, int *other)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);
	struct sock *sk = receiver ? receiver : BPF_CORE_READ(skb, sk);
	__u16 family;

	/*
	 * UDP queues and fragment queues store other data in the field `dev`.
	 */
	if ((__s64)device < -4096 && (__u64)device >= 0xffff000000000000ULL) {
		__u32 inum = BPF_CORE_READ(device, nd_net.net, ns.inum);

		if (inum >= 0xf0000000)
			return inum;
	}
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	*other = family != FAMILY_INET && family != FAMILY_INET6 && family != FAMILY_PACKET;
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* Returns 0 if the source is not in one of the tests' subnets. */
static __always_inline __u8 subnet_of(struct sk_buff *skb)
{
	unsigned char *header = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	int is_ipv6 = BPF_CORE_READ(skb, protocol) == bpf_htons(0x86dd);
	__u8 source[2] = {};

	if (!is_ipv6 && BPF_CORE_READ(skb, protocol) != bpf_htons(0x0800))
		return 0;
	if (bpf_probe_read_kernel(source, 2, header + (is_ipv6 ? 8 : 12)) || source[0] != (is_ipv6 ? 0xfd : 10))
		return 0;
	return source[1] >= first_subnet && source[1] <= last_subnet ? source[1] : 0;
}

static __always_inline int count(struct sk_buff *skb, __u64 place, __u32 reason, struct sock *receiver)
{
	struct free_key key = {.place = place, .reason = reason};
	__u64 one = 1, *value;
	int other = 0;

	/* A device's empty receive buffer is not a packet. */
	if (!BPF_CORE_READ(skb, len) && !BPF_CORE_READ(skb, protocol))
		return 0;
	key.netns = netns_of(skb, receiver, &other);
	if (!key.netns)
		key.netns = subnet_of(skb);
	if (other || !key.netns)
		return 0;
	value = bpf_map_lookup_elem(&frees, &key);
	if (!value && !bpf_map_update_elem(&frees, &key, &one, BPF_NOEXIST))
		return 0;
	value = value ? value : bpf_map_lookup_elem(&frees, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

SEC("raw_tp/kfree_skb")
int with_receiver(struct bpf_raw_tracepoint_args *ctx)
{
	return count((void *)ctx->args[0], ctx->args[1], ctx->args[2], (void *)ctx->args[3]);
}

SEC("raw_tp/kfree_skb")
int with_reason(struct bpf_raw_tracepoint_args *ctx)
{
	return count((void *)ctx->args[0], ctx->args[1], ctx->args[2], 0);
}

SEC("raw_tp/kfree_skb")
int plain(struct bpf_raw_tracepoint_args *ctx)
{
	return count((void *)ctx->args[0], ctx->args[1], no_reason, 0);
}

char LICENSE[] SEC("license") = "GPL";
