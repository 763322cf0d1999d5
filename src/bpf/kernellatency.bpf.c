// SPDX-License-Identifier: GPL-2.0-only
/* How long packets are in the kernel's IP layer, by stage, on their way to a socket and from one. */
#include "common/aim.bpf.h"
#include "common/argument.bpf.h"
#include "common/events.bpf.h"
#include "common/header.bpf.h"
#include "common/histogram.bpf.h"
#include "common/process.bpf.h"
#include "common/socket.bpf.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

const volatile __u64 threshold = 0; /* nanoseconds: an event for what takes longer, all stages together */

/*
 * The ways that are measured. The first two by functions of the IP layer, in stages; the others where no function can
 * be hooked, by tracepoints around it.
 */
enum packet_way {
	WAY_RECEIVE,
	WAY_SEND,
	WAY_DELIVERY,
	WAY_DEVICE,
};

#define STAGES_MAX 3

/*
 * A packet on its way, found by its address. Two packets may want one slot: the later one gets it, and the other is
 * untracked. What is done with a packet, ends its slot: it is delivered, queued for a device, or dropped. The kernel
 * frees some without any of these (fragments that are put together, a packet that is cut into segments): their slots
 * stay, but every way has a start of its own that sets the slot anew, and what does not pass it is not of the way, the
 * stage and the socket that the slot says.
 */
struct packet_slot {
	__u64 packet; /* address; 0: none */
	__u64 netns;
	__u64 owner; /* address of the socket that sends it; 0: none */
	__u64 begun; /* nanoseconds */
	__u64 passed[STAGES_MAX - 1]; /* when each stage but the last one ended; 0: not yet */
	__u32 way;
	__u32 length;
	struct packet_header header; /* of the last way only: there the driver may free the packet */
};

#define SLOT_BITS 13

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SLOT_BITS);
	__type(key, __u32);
	__type(value, struct packet_slot);
} packet_slots SEC(".maps");

/*
 * The packet that a CPU is delivering to its transport protocol, or by tracepoints the one that it received last. It
 * may be free before that ends, so what is told of it is kept here.
 */
struct packet_delivery {
	__u64 packet; /* address; 0: none */
	__u64 netns;
	__u64 begun;
	__u64 passed[STAGES_MAX - 1];
	__u32 length;
	struct packet_header header;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet_delivery);
} packet_deliveries SEC(".maps");

struct kernel_histograms {
	struct histogram prerouting, input, transport;
	struct histogram output, postrouting, neighbour;
	struct histogram delivery;
	struct histogram device;
};

/* By namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct kernel_histograms);
} kernel_histograms SEC(".maps");

struct kernel_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 stages[STAGES_MAX]; /* nanoseconds; of the ways by tracepoints only the first */
	__u32 way;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(kernel_event);

static __always_inline struct packet_slot *slot_of(__u64 address)
{
	__u32 index = (address * 0x9e3779b97f4a7c15ULL) >> (64 - SLOT_BITS);

	return bpf_map_lookup_elem(&packet_slots, &index);
}

static __always_inline void begin(__u64 address, __u32 way, __u64 netns, __u64 owner, __u32 length)
{
	struct packet_slot *slot = slot_of(address);

	if (!slot)
		return;
	if (!is_aimed_at(netns)) {
		if (slot->packet == address)
			slot->packet = 0;
		return;
	}
	if (slot->packet && slot->packet != address)
		count_miss(untracked);
	slot->packet = 0;
	slot->netns = netns;
	slot->owner = owner;
	slot->way = way;
	slot->length = length;
	slot->passed[0] = slot->passed[1] = 0;
	slot->begun = bpf_ktime_get_ns();
	slot->packet = address;
}

/* The slot of a packet that has passed so many stages of this way; any other slot of this address is ended. */
static __always_inline struct packet_slot *find(__u64 address, __u32 way, __u64 owner, __u32 stages)
{
	struct packet_slot *slot = slot_of(address);

	if (!slot || slot->packet != address)
		return NULL;
	if (slot->way == way && slot->owner == owner && !!slot->passed[0] == (stages > 0) &&
	    !!slot->passed[1] == (stages > 1))
		return slot;
	slot->packet = 0;
	return NULL;
}

static __always_inline void pass(__u64 address, __u32 way, __u64 owner, __u32 stage)
{
	struct packet_slot *slot = find(address, way, owner, stage);

	if (slot)
		slot->passed[stage] = bpf_ktime_get_ns();
}

/* What was dropped is forgotten: its address may soon be another packet's. */
SEC("tp_btf/kfree_skb")
int packet_dropped(__u64 *ctx)
{
	__u64 address = (__u64)plain_argument(ctx, 0);
	struct packet_slot *slot = slot_of(address);

	if (slot && slot->packet == address)
		slot->packet = 0;
	return 0;
}

static __always_inline struct kernel_histograms *histograms_of(__u64 netns)
{
	static const struct kernel_histograms zero = {};
	struct kernel_histograms *histograms = bpf_map_lookup_elem(&kernel_histograms, &netns);

	if (!histograms) {
		bpf_map_update_elem(&kernel_histograms, &netns, &zero, BPF_NOEXIST);
		histograms = bpf_map_lookup_elem(&kernel_histograms, &netns);
	}
	if (!histograms)
		count_miss(map_full);
	return histograms;
}

/* Two CPUs may have written into one slot at the same moment. */
static __always_inline bool read_stages(__u64 *stages, __u64 begun, const __u64 *passed, __u64 now)
{
	if (begun > passed[0] || passed[0] > passed[1] || passed[1] > now) {
		count_miss(untracked);
		return false;
	}
	stages[0] = passed[0] - begun;
	stages[1] = passed[1] - passed[0];
	stages[2] = now - passed[1];
	return true;
}

static __always_inline struct kernel_event *reserve_event(__u32 way, __u64 netns, __u64 now, const __u64 *stages,
							  __u32 length)
{
	struct kernel_event *event;

	if (!events_enabled || stages[0] + stages[1] + stages[2] <= threshold)
		return NULL;
	event = event_reserve(netns, sizeof(*event));
	if (!event)
		return NULL;
	event->time = now;
	event->netns = netns;
	event->way = way;
	event->length = length;
	for (int i = 0; i < STAGES_MAX; i++)
		event->stages[i] = stages[i];
	return event;
}

/* Receiving: from where the header was found good, to the end of what the transport protocol does with the packet. */

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
	struct kernel_histograms *histograms = histograms_of(delivery->netns);
	__u64 now = bpf_ktime_get_ns(), stages[STAGES_MAX];
	struct kernel_event *event;

	if (!read_stages(stages, delivery->begun, delivery->passed, now))
		return 0;
	if (histograms) {
		histogram_add(&histograms->prerouting, stages[0]);
		histogram_add(&histograms->input, stages[1]);
		histogram_add(&histograms->transport, stages[2]);
	}
	event = reserve_event(WAY_RECEIVE, delivery->netns, now, stages, delivery->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &delivery->header);
	event_submit(event);
	return 0;
}

/* The delivery that ends is the last one that began on this CPU. */
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

/* The functions give back the packet, or a copy of it where somebody else holds it too: a capture, say. */
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

/* Each function by fentry and by a kprobe, with what is done there to the packet, its argument number `index`. */
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

/* Sending: from where the packet is handed to the IP layer, to the queue of its device. */

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

/* TCP over IPv6 does not pass the function above. */
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
	histograms = histograms_of(slot->netns);
	if (histograms) {
		histogram_add(&histograms->output, stages[0]);
		histogram_add(&histograms->postrouting, stages[1]);
		histogram_add(&histograms->neighbour, stages[2]);
	}
	tell_sent(WAY_SEND, slot->netns, now, stages, skb);
	return 0;
}

/* By tracepoints: what is between device and socket, and what is between the queue of a device and its driver. */

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(device_received, struct sk_buff *skb)
{
	__u32 zero = 0;
	struct packet_delivery *delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);

	if (!delivery)
		return 0;
	delivery->packet = 0;
	delivery->netns = netns_id(skb->dev->nd_net.net);
	if (!is_aimed_at(delivery->netns))
		return 0;
	delivery->packet = (__u64)skb;
	delivery->length = skb->len;
	header_keep(&delivery->header, skb->protocol, skb->data);
	delivery->begun = bpf_ktime_get_ns();
	return 0;
}

struct tcp_fields {
	__be16 source, destination;
	__be32 sequence, acknowledged;
	__u8 header_length, flags;
};

#define TCP_FIN 0x1
#define IPV6_HEADER 40

/*
 * Whether the socket has just been given the segment that came last: its sequence number ends where the socket is. A
 * segment without data takes no number, and gives the socket nothing.
 */
static __always_inline bool is_last_segment(const struct packet_delivery *delivery, struct sock *sk)
{
	const __u8 *bytes = delivery->header.bytes;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u32 before, length, taken;
	struct tcp_fields fields;

	if (!tcp)
		return false;
	if (delivery->header.ethertype == ETHERTYPE_IPV4 && bytes[9] == IPPROTO_TCP) {
		before = (bytes[0] & 0xf) * 4;
		length = bytes[2] << 8 | bytes[3];
	} else if (delivery->header.ethertype == ETHERTYPE_IPV6 && bytes[IPV6_NEXT_HEADER] == IPPROTO_TCP) {
		before = IPV6_HEADER;
		length = bytes[4] << 8 | bytes[5];
		if (length)
			length += IPV6_HEADER;
	} else {
		return false;
	}
	/* One of more than 64 KiB has no length in its header. A short one may have been filled up by its device. */
	if (!length)
		length = delivery->length;
	if (before > HEADER_LENGTH - sizeof(fields) || bpf_probe_read_kernel(&fields, sizeof(fields), bytes + before))
		return false;
	taken = length - before - (fields.header_length >> 4) * 4 + (fields.flags & TCP_FIN);
	return taken && bpf_ntohs(fields.destination) == sk->__sk_common.skc_num &&
	       fields.source == sk->__sk_common.skc_dport && bpf_ntohl(fields.sequence) + taken == tcp->rcv_nxt;
}

/* A datagram is the last one in the queue. Another CPU may have put one behind it meanwhile: then it is not told. */
static __always_inline bool is_last_packet(const struct packet_delivery *delivery, struct sock *sk)
{
	__u16 protocol = sk->sk_protocol;

	if (protocol == IPPROTO_TCP)
		return is_last_segment(delivery, sk);
	return (__u64)sk->sk_receive_queue.prev == delivery->packet;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(socket_ready, struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family, protocol = sk->sk_protocol;
	__u64 now = bpf_ktime_get_ns(), stages[STAGES_MAX] = {};
	struct kernel_histograms *histograms;
	struct packet_delivery *delivery;
	struct kernel_event *event;
	__u32 zero = 0;

	if ((family != FAMILY_IPV4 && family != FAMILY_IPV6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    sk->__sk_common.skc_state == STATE_LISTEN)
		return 0;
	if (!is_aimed_at(netns_id(sk->__sk_common.skc_net.net)))
		return 0;
	delivery = bpf_map_lookup_elem(&packet_deliveries, &zero);
	/* A process that had the socket locked takes what came meanwhile: what came last here may be another packet. */
	if (!delivery || !delivery->packet || delivery->netns != netns_id(sk->__sk_common.skc_net.net) ||
	    !is_last_packet(delivery, sk) || in_process()) {
		count_miss(untracked);
		return 0;
	}
	delivery->packet = 0;
	stages[0] = now - delivery->begun;
	histograms = histograms_of(delivery->netns);
	if (histograms)
		histogram_add(&histograms->delivery, stages[0]);
	event = reserve_event(WAY_DELIVERY, delivery->netns, now, stages, delivery->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &delivery->header);
	event_submit(event);
	return 0;
}

/* Only what a socket of the namespace sends: a packet that is passed on has none, or one of another namespace. */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(device_queued, struct sk_buff *skb)
{
	__u64 address = (__u64)plain_argument(ctx, 0);
	struct net *net = skb->dev->nd_net.net;
	struct packet_slot *slot;
	struct sock *sk = skb->sk;

	if (sk && sk->__sk_common.skc_net.net == net &&
	    (skb->protocol == bpf_htons(ETHERTYPE_IPV4) || skb->protocol == bpf_htons(ETHERTYPE_IPV6))) {
		begin(address, WAY_DEVICE, netns_id(net), 0, skb->len);
		slot = slot_of(address);
		if (slot && slot->packet == address && events_enabled)
			header_keep(&slot->header, skb->protocol, skb->head + skb->network_header);
		return 0;
	}
	slot = slot_of(address);
	if (slot && slot->packet == address)
		slot->packet = 0;
	return 0;
}

#define TRANSMIT_BUSY 0x10 /* kernel: include/linux/netdevice.h, NETDEV_TX_BUSY */

/* On its way a header may be added: a VLAN tag, or those of IPsec. */
#define GROWTH_MAX 64

/*
 * By now the packet may be free. One that the kernel has cut into segments is sent as these, which were never queued
 * themselves, may be where others were, and are all shorter than the whole.
 */
SEC("tp_btf/net_dev_xmit")
int BPF_PROG(device_sent, struct sk_buff *skb, int result, struct net_device *device, __u32 length)
{
	__u64 address = (__u64)plain_argument(ctx, 0), now, stages[STAGES_MAX] = {};
	struct packet_slot *slot = find(address, WAY_DEVICE, 0, 0);
	struct kernel_histograms *histograms;
	struct kernel_event *event;

	/* The driver has refused it, and it goes back into the queue. */
	if (!slot || result == TRANSMIT_BUSY)
		return 0;
	slot->packet = 0;
	now = bpf_ktime_get_ns();
	if (length - slot->length >= GROWTH_MAX || slot->begun > now) {
		count_miss(untracked);
		return 0;
	}
	stages[0] = now - slot->begun;
	histograms = histograms_of(slot->netns);
	if (histograms)
		histogram_add(&histograms->device, stages[0]);
	event = reserve_event(WAY_DEVICE, slot->netns, now, stages, slot->length);
	if (!event)
		return 0;
	header_read_tuple(&event->tuple, &slot->header);
	event_submit(event);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
