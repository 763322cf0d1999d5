// SPDX-License-Identifier: GPL-2.0-only
/* Programs like those that other network software attaches to cgroups, sockets and devices. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Must match beside.ts. */
#define SERVICE 0x0a090063 /* 10.9.0.99 */
#define BACKEND 0x0a090002 /* 10.9.0.2 */
#define NETWORK6 0xfd090000 /* first word of both addresses over IPv6, whose second and third words are 0 */
#define SERVICE6 0x99 /* last word: fd09::99 */
#define BACKEND6 0x2 /* fd09::2 */
#define BACKEND_PORT 7901
#define PROXY_PORT 7902
#define SHORTCUT_PORT 7903

#define LONG_PACKET 500
#define LOSE_EVERY 9

/* Kernel: include/uapi/linux/bpf.h, enum tcx_action_base */
#define TCX_NEXT -1
#define TCX_DROP 2

/* The two sockets of a proxy: its connection from the client, and its connection to the server. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} proxied SEC(".maps");

/* The sockets at both ends of a connection, first the server's and then the client's. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} shortcuts SEC(".maps");

__u32 packets;

/* Replaces the address of a service with that of its server, as socket-level load balancers do. */
SEC("cgroup/connect4")
int rewrite(struct bpf_sock_addr *address)
{
	if (address->user_ip4 == bpf_htonl(SERVICE)) {
		address->user_ip4 = bpf_htonl(BACKEND);
		address->user_port = bpf_htons(BACKEND_PORT);
	}
	return 1;
}

SEC("cgroup/connect6")
int rewrite6(struct bpf_sock_addr *address)
{
	if (address->user_ip6[0] == bpf_htonl(NETWORK6) && !address->user_ip6[1] && !address->user_ip6[2] &&
	    address->user_ip6[3] == bpf_htonl(SERVICE6)) {
		address->user_ip6[3] = bpf_htonl(BACKEND6);
		address->user_port = bpf_htons(BACKEND_PORT);
	}
	return 1;
}

SEC("cgroup_skb/egress")
int pass(struct __sk_buff *skb)
{
	return 1;
}

/* Redirects data that one socket of a proxy has received to the other socket, which sends it. */
SEC("sk_skb/stream_verdict")
int forward(struct __sk_buff *skb)
{
	return bpf_sk_redirect_map(skb, &proxied, skb->local_port == PROXY_PORT, 0);
}

/* Passes data directly to the socket at the other end of the connection, bypassing TCP. */
SEC("sk_msg")
int shortcut(struct sk_msg_md *message)
{
	return bpf_msg_redirect_map(message, &shortcuts, message->local_port == SHORTCUT_PORT, BPF_F_INGRESS);
}

/* Drops some of the packets with data. */
SEC("tc")
int lose(struct __sk_buff *skb)
{
	return skb->len > LONG_PACKET && packets++ % LOSE_EVERY == 1 ? TCX_DROP : TCX_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
