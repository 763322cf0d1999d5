// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parser of DNS over UDP and TCP: counts queries and answers by place and role, and measures the time in between. A
 * query waits in a map until its answer comes or user space gives it up.
 */
#include "common/l7.bpf.h"
#include "dns_handle.bpf.h"
#include "dns_stream.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

char LICENSE[] SEC("license") = "GPL";

static __always_inline int handle_datagram(struct __sk_buff *skb, bool is_egress)
{
	struct dns_context context = {};
	struct l7_packet packet = {};
	__be16 source, destination;

	l7_packet_of(skb, &packet);
	if (!read_context(&context, skb, is_egress))
		return 1;
	source = packet.seq & 0xffff;
	destination = packet.seq >> 16;
	context.from_server = source == bpf_htons(DNS_PORT);
	context.to_server = destination == bpf_htons(DNS_PORT);
	context.key.port = is_egress ? destination : source;
	context.source.offset = packet.offset;
	context.length = packet.length;
	if (skb->gso_size && packet.length > skb->gso_size)
		count_unknown(&context, UNKNOWN_SEVERAL);
	else
		handle_message(&context);
	return 1;
}

SEC("cgroup_skb/egress")
int dns_datagram_sent(struct __sk_buff *skb)
{
	return handle_datagram(skb, true);
}

SEC("cgroup_skb/ingress")
int dns_datagram_received(struct __sk_buff *skb)
{
	return handle_datagram(skb, false);
}

SEC("cgroup_skb/egress")
int dns_sent(struct __sk_buff *skb)
{
	return handle_stream(skb, true);
}

SEC("cgroup_skb/ingress")
int dns_received(struct __sk_buff *skb)
{
	return handle_stream(skb, false);
}
