// SPDX-License-Identifier: GPL-2.0-only
/* Time that packets spend in each stage of the kernel's IP layer, between device and socket, in both directions. */
#include "kernellatency.bpf.h"
#include "kernellatency_tracepoints.bpf.h"

/* Receive path: from the header check until the transport protocol has processed the packet. */

static __always_inline int handle_transport(const struct sk_buff *skb)
{
	__u64 address = (__u64)skb;
	struct packet_slot *slot = find(address, WAY_RECEIVE, 0, 1);
	__u32 zero = 0;
	struct packet_delivery *delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);

	if (!slot || !delivery)
		return 0;
	slot->packet = 0;
	delivery->netns = slot->netns;
	delivery->begun = slot->begun;
	delivery->passed[0] = slot->passed[0];
	if (events_enabled) {
		delivery->length = BPF_CORE_READ(skb, len);
		header_keep(&delivery->header, BPF_CORE_READ(skb, protocol),
			    BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header));
	}
	delivery->packet = address;
	delivery->passed[1] = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int observe_receive(struct packet_delivery *delivery)
{
	struct kernel_histograms *histograms = histograms_of(delivery->netns, (struct netns_clue){});
	__u64 now = bpf_ktime_get_ns(), stages[STAGES_MAX];
	struct kernel_event *event;

	if (!read_stages(stages, delivery->begun, delivery->passed, now))
		return 0;
	if (histograms) {
		histogram_add_shared(&histograms->prerouting, stages[0]);
		histogram_add_shared(&histograms->input, stages[1]);
		histogram_add_shared(&histograms->transport, stages[2]);
	}
	event = reserve_event(WAY_RECEIVE, delivery->netns, now, stages, delivery->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &delivery->header);
	event_submit(event);
	return 0;
}

/* The delivery that has just ended is the one that this CPU started last. */
static __always_inline int handle_transport_end(__u64 address)
{
	__u32 zero = 0;
	struct packet_delivery *delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);

	if (!delivery || !delivery->packet || (address && delivery->packet != address))
		return 0;
	delivery->packet = 0;
	return observe_receive(delivery);
}

static __always_inline int handle_received(const struct sk_buff *skb, __u64 netns)
{
	if (skb)
		begin((__u64)skb, WAY_RECEIVE, netns, 0, 0);
	return 0;
}

/*
 * ip_rcv_core() and ip6_rcv_core() return a copy if the packet is shared, for example with a packet capture, so the
 * returned packet is the one to follow.
 */
SEC("fexit/ip_rcv_core")
int received_v4_exit(__u64 *ctx)
{
	return handle_received(plain_argument(ctx, 2), netns_read_id(plain_argument(ctx, 1)));
}

SEC("fexit/ip6_rcv_core")
int received_v6_exit(__u64 *ctx)
{
	return handle_received(plain_argument(ctx, 3), netns_read_id(plain_argument(ctx, 2)));
}

SEC("kretprobe/ip_rcv_core")
int received_v4_return(struct pt_regs *ctx)
{
	const struct sk_buff *skb = (void *)PT_REGS_RC(ctx);

	return handle_received(skb, skb ? netns_read_id(BPF_CORE_READ(skb, dev, nd_net.net)) : 0);
}

SEC("kretprobe/ip6_rcv_core")
int received_v6_return(struct pt_regs *ctx)
{
	const struct sk_buff *skb = (void *)PT_REGS_RC(ctx);

	return handle_received(skb, skb ? netns_read_id(BPF_CORE_READ(skb, dev, nd_net.net)) : 0);
}

/*
 * Defines an fentry and a kprobe program for a function. Both call `handle` with the packet, which is argument `index`.
 */
#define ARGUMENT_0(ctx) PT_REGS_PARM1(ctx)
#define ARGUMENT_1(ctx) PT_REGS_PARM2(ctx)
#define ARGUMENT_2(ctx) PT_REGS_PARM3(ctx)
#define AT_FUNCTION(name, function, index, handle)                     \
	SEC("fentry/" #function) int name##_entry(__u64 *ctx)          \
	{                                                              \
		return handle(plain_argument(ctx, index));             \
	}                                                              \
	SEC("kprobe/" #function) int name##_probe(struct pt_regs *ctx) \
	{                                                              \
		return handle((void *)ARGUMENT_##index(ctx));          \
	}

static __always_inline int handle_input(const struct sk_buff *skb)
{
	pass((__u64)skb, WAY_RECEIVE, 0, 0);
	return 0;
}

AT_FUNCTION(input_v4, ip_local_deliver, 0, handle_input)
AT_FUNCTION(input_v6, ip6_input, 0, handle_input)
AT_FUNCTION(transport_v4, ip_protocol_deliver_rcu, 1, handle_transport)
AT_FUNCTION(transport_v6, ip6_protocol_deliver_rcu, 1, handle_transport)

SEC("fexit/ip_protocol_deliver_rcu")
int transport_v4_exit(__u64 *ctx)
{
	return handle_transport_end((__u64)plain_argument(ctx, 1));
}

SEC("fexit/ip6_protocol_deliver_rcu")
int transport_v6_exit(__u64 *ctx)
{
	return handle_transport_end((__u64)plain_argument(ctx, 1));
}

SEC("kretprobe/ip_protocol_deliver_rcu")
int transport_v4_return(struct pt_regs *ctx)
{
	return handle_transport_end(0);
}

SEC("kretprobe/ip6_protocol_deliver_rcu")
int transport_v6_return(struct pt_regs *ctx)
{
	return handle_transport_end(0);
}

/* Send path: from the call of the IP layer until the packet is in the device's queue. */

static __always_inline int handle_sent(const struct sk_buff *skb, const struct net *net)
{
	begin((__u64)skb, WAY_SEND, netns_read_id(net), (__u64)BPF_CORE_READ(skb, sk), 0);
	return 0;
}

SEC("fentry/__ip_local_out")
int sent_v4_entry(__u64 *ctx)
{
	return handle_sent(plain_argument(ctx, 2), plain_argument(ctx, 0));
}

SEC("fentry/__ip6_local_out")
int sent_v6_entry(__u64 *ctx)
{
	return handle_sent(plain_argument(ctx, 2), plain_argument(ctx, 0));
}

/* Called instead of the function above for TCP over IPv6. */
SEC("fentry/ip6_xmit")
int sent_tcp_v6_entry(__u64 *ctx)
{
	const struct sock *sk = plain_argument(ctx, 0);

	return handle_sent(plain_argument(ctx, 1), BPF_CORE_READ(sk, __sk_common.skc_net.net));
}

SEC("kprobe/__ip_local_out")
int sent_v4_probe(struct pt_regs *ctx)
{
	return handle_sent((void *)PT_REGS_PARM3(ctx), (void *)PT_REGS_PARM1(ctx));
}

SEC("kprobe/__ip6_local_out")
int sent_v6_probe(struct pt_regs *ctx)
{
	return handle_sent((void *)PT_REGS_PARM3(ctx), (void *)PT_REGS_PARM1(ctx));
}

SEC("kprobe/ip6_xmit")
int sent_tcp_v6_probe(struct pt_regs *ctx)
{
	const struct sock *sk = (void *)PT_REGS_PARM1(ctx);

	return handle_sent((void *)PT_REGS_PARM2(ctx), BPF_CORE_READ(sk, __sk_common.skc_net.net));
}

static __always_inline int handle_output(const struct sk_buff *skb)
{
	pass((__u64)skb, WAY_SEND, (__u64)BPF_CORE_READ(skb, sk), 0);
	return 0;
}

static __always_inline int handle_postrouting(const struct sk_buff *skb)
{
	pass((__u64)skb, WAY_SEND, (__u64)BPF_CORE_READ(skb, sk), 1);
	return 0;
}

AT_FUNCTION(output_v4, ip_output, 2, handle_output)
AT_FUNCTION(output_v6, ip6_output, 2, handle_output)
AT_FUNCTION(postrouting_v4, ip_finish_output2, 2, handle_postrouting)
AT_FUNCTION(postrouting_v6, ip6_finish_output2, 2, handle_postrouting)

static __always_inline void tell_sent(__u32 way, __u64 netns, __u64 now, const __u64 *stages, struct sk_buff *skb)
{
	struct kernel_event *event = reserve_event(way, netns, now, stages, skb->len);

	if (!event)
		return;
	__builtin_memset(&event->tuple, 0, sizeof(event->tuple));
	packet_read_tuple(&event->tuple, skb);
	event_submit(event);
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(packet_queued, struct sk_buff *skb)
{
	__u64 address = (__u64)plain_argument(ctx, 0);
	struct packet_slot *slot = find(address, WAY_SEND, (__u64)skb->sk, 2);
	__u64 now = bpf_ktime_get_ns(), stages[STAGES_MAX];
	struct kernel_histograms *histograms;

	if (!slot)
		return 0;
	slot->packet = 0;
	if (!read_stages(stages, slot->begun, slot->passed, now))
		return 0;
	histograms = histograms_of(slot->netns, (struct netns_clue){.sk = skb->sk});
	if (histograms) {
		histogram_add_shared(&histograms->output, stages[0]);
		histogram_add_shared(&histograms->postrouting, stages[1]);
		histogram_add_shared(&histograms->neighbour, stages[2]);
	}
	tell_sent(WAY_SEND, slot->netns, now, stages, skb);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
