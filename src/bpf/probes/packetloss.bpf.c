// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts packets that the kernel frees without delivering them: lost packets by namespace and reason, other packets by
 * class. Sends events for a limited number of losses.
 */
#include "common/pod_filter.bpf.h"
#include "common/argument.bpf.h"
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/fragment.bpf.h"
#include "common/loss.bpf.h"
#include "common/packet.bpf.h"
#include "common/process.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_tracing.h>

enum drop_side {
	SIDE_LOST, /* `reason` is the kernel's reason */
	SIDE_DISCARDED, /* `reason` is the class */
};

enum drop_limit {
	DROP_REASONS = 256, /* more than the core has; reasons of subsystems have a subsystem number in the high half */
	DROP_SUBSYSTEMS = 8,
};

/* Sums for an owner without a free row. */
enum drop_rest {
	REST_LOST,
	REST_DISCARDED, /* REST_DISCARDED + class */
};

SHARED_ENUM(drop_side);
SHARED_ENUM(drop_rest);
SHARED_ENUM(drop_limit);

const volatile __u32 not_specified = 0; /* number of SKB_DROP_REASON_NOT_SPECIFIED, which changed in 6.3 */
const volatile bool has_reasons = false; /* since 5.17 */
const volatile __u8 rules[DROP_REASONS] = {}; /* enum loss_rule, by reason */
const volatile __u8 subsystem_rules[DROP_SUBSYSTEMS] = {};
const volatile bool waits_for_udp = false; /* kfree_skb does not pass the receiving socket */
const volatile __u32 receive_buffer = 0; /* number of SOCKET_RCVBUFF */
const volatile __u32 protocol_memory = 0; /* number of PROTO_MEM */
const volatile __u64 node_netns = 0; /* owner of packets that no longer have a device or a socket */
const volatile bool with_stack = false;

#define SYMBOL_LENGTH 80
#define STACK_FRAMES 16

struct packet_drop_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 location; /* address of the code that dropped the packet */
	__u32 reason;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
	struct event_process process;
	char device[16];
	char symbol[SYMBOL_LENGTH]; /* text for `location`: function+offset/size [module]; empty if unknown */
};

struct packet_drop_stack_event {
	struct packet_drop_event drop;
	__u64 frames;
	__u64 addresses[STACK_FRAMES];
	char symbols[STACK_FRAMES][SYMBOL_LENGTH];
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(packet_drop_event);
EVENT_RECORD(packet_drop_stack_event);

struct waiting_drop {
	__u64 is_waiting;
	struct count_key key; /* key to use if no socket is reported for the drop */
	struct packet_drop_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct waiting_drop);
} waiting_drops SEC(".maps");

/* Returns whether the kernel can print symbols (5.13). On older kernels, user space reads /proc/kallsyms. */
static __always_inline bool can_print(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf);
}

/* Lets the kernel print the symbol of an address, so that user space needs neither /proc/kallsyms nor the privilege
 * to read it. */
static __always_inline void print_symbol(char *symbol, __u64 address)
{
	static const char format[] = "%pS";

	symbol[0] = 0;
	if (can_print())
		bpf_snprintf(symbol, SYMBOL_LENGTH, format, &address, sizeof(address));
}

static __always_inline void fill_event(struct packet_drop_event *event, struct sk_buff *skb, __u64 location,
				       const struct count_key *key, const struct packet_view *view, bool has_place)
{
	struct net_device *device = has_place ? skb->dev : NULL;

	event->time = bpf_ktime_get_ns();
	event->netns = key->netns;
	event->location = location;
	event->reason = key->reason;
	event->length = skb->len;
	event->tuple = view->tuple;
	event_read_process(&event->process);
	if (!device || bpf_probe_read_kernel_str(event->device, sizeof(event->device), device->name) < 0)
		event->device[0] = 0;
	print_symbol(event->symbol, location);
}

static __always_inline void fill_stack(void *ctx, struct packet_drop_stack_event *event)
{
	long size = bpf_get_stack(ctx, event->addresses, sizeof(event->addresses), 0);

	event->frames = size > 0 ? size / sizeof(__u64) : 0;
	for (int i = 0; i < STACK_FRAMES; i++) {
		if (i < event->frames)
			print_symbol(event->symbols[i], event->addresses[i]);
		else
			event->symbols[i][0] = 0;
	}
}

static __always_inline __u32 rule_of(__u32 reason)
{
	__u32 subsystem = reason >> 16;

	/*
	 * Keeps the values in one register each. Otherwise the compiler may check the limit on a copy, and the verifier
	 * would not know the limit of the value itself.
	 */
	barrier_var(reason);
	barrier_var(subsystem);
	if (reason < DROP_REASONS)
		return rules[reason];
	return subsystem < DROP_SUBSYSTEMS ? subsystem_rules[subsystem] : RULE_UNKNOWN;
}

/*
 * Excludes netlink and Unix messages, which are also freed in this way. They have neither an IP header nor a
 * link-layer header.
 */
static __always_inline bool is_packet(struct sk_buff *skb, bool has_place)
{
	__u16 ethertype = bpf_ntohs(skb->protocol);

	return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 ||
	       (has_place && skb->mac_header != HEADER_UNSET);
}

/*
 * Returns the namespace of a packet that no longer has a device or a socket. Such a packet is a datagram whose
 * checksum is verified when the process reads it, or a fragment of an incomplete packet. Other packets belong to the
 * node.
 */
static __always_inline __u64 netns_elsewhere(const struct packet_view *view, int class)
{
	__u64 netns = 0;

	if (view->is_delivered && class == LOST)
		netns = in_process() ? task_netns() : fragment_timer_netns();
	return netns ?: node_netns;
}

static __always_inline struct packet_drop_event *reserve_drop(__u64 netns, struct netns_clue clue)
{
	return event_reserve(netns, clue,
			     with_stack ? sizeof(struct packet_drop_stack_event) : sizeof(struct packet_drop_event));
}

static __always_inline void submit_drop(void *ctx, struct packet_drop_event *event)
{
	if (with_stack)
		fill_stack(ctx, (struct packet_drop_stack_event *)event);
	event_submit(event);
}

/*
 * Before 6.11, a datagram that was dropped because of a full socket buffer has no device and no socket. The next
 * tracepoint on the same CPU reports the socket, so the drop waits for it.
 */
static __always_inline bool waits_for_socket(const struct packet_view *view, const struct count_key *key, __u32 reason,
					     bool has_place)
{
	return waits_for_udp && !key->netns && !has_place && view->is_delivered &&
	       view->tuple.protocol == IPPROTO_UDP &&
	       (!has_reasons || reason == receive_buffer || reason == protocol_memory);
}

/*
 * Returns the index of the sum to use if the owner has no free row. There is one sum for losses and one for each class
 * of discards.
 */
static __always_inline __u32 rest_of(const struct count_key *key)
{
	return key->side == SIDE_LOST ? REST_LOST : REST_DISCARDED + key->reason;
}

static __always_inline void count_drop(const struct count_key *key, struct netns_clue clue, __u32 length)
{
	count_add(key, clue, length, rest_of(key));
}

/* Counts the waiting drop. No socket was reported for the drop, so it was not caused by a full buffer. */
static __always_inline void settle_waiting(void)
{
	__u32 zero = 0;
	struct waiting_drop *waiting = waits_for_udp ? bpf_map_lookup_elem(&waiting_drops, &zero) : NULL;

	if (!waiting || !waiting->is_waiting)
		return;
	waiting->is_waiting = 0;
	if (passes_pod_filter(waiting->key.netns))
		count_drop(&waiting->key, (struct netns_clue){}, waiting->event.length);
}

static __always_inline int handle_drop(void *ctx, struct sk_buff *skb, __u64 location, __u32 reason,
				       const struct sock *receiver)
{
	bool has_place = device_netns(skb) != 0;
	struct count_key key = {.netns = packet_netns(skb, receiver)};
	/* A queued packet may have other data in place of the device pointer. */
	struct netns_clue clue = {.device = has_place ? skb->dev : NULL, .sk = receiver};
	struct packet_view view = {};
	struct waiting_drop *waiting = NULL;
	struct packet_drop_event *event;
	__u32 zero = 0, rule = rule_of(reason);
	int class;

	settle_waiting();
	if (!is_packet(skb, has_place))
		return 0;
	packet_view(&view, skb, rule);
	class = judge_loss(&view, rule, receiver, has_reasons, has_place);
	if (waits_for_socket(&view, &key, reason, has_place))
		waiting = bpf_map_lookup_elem(&waiting_drops, &zero);
	if (!key.netns)
		key.netns = netns_elsewhere(&view, class);
	key.side = class == LOST ? SIDE_LOST : SIDE_DISCARDED;
	key.reason = class == LOST ? reason : class;
	if (waiting) {
		waiting->key = key;
		key.reason = reason;
		fill_event(&waiting->event, skb, location, &key, &view, has_place);
		waiting->is_waiting = 1;
		return 0;
	}
	if (!passes_pod_filter(key.netns))
		return 0;
	count_drop(&key, clue, skb->len);
	if (class != LOST || !events_enabled)
		return 0;
	event = reserve_drop(key.netns, clue);
	if (event) {
		fill_event(event, skb, location, &key, &view, has_place);
		submit_drop(ctx, event);
	}
	return 0;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(packet_drop_udp, int error, struct sock *sk)
{
	__u32 zero = 0;
	struct waiting_drop *waiting = bpf_map_lookup_elem(&waiting_drops, &zero);
	struct count_key key = {.side = SIDE_LOST};
	struct netns_clue clue = {.sk = sk};
	struct packet_drop_event *event;

	if (!waiting || !waiting->is_waiting)
		return 0;
	waiting->is_waiting = 0;
	key.netns = netns_id(sk->__sk_common.skc_net.net);
	key.reason = waiting->event.reason;
	if (!passes_pod_filter(key.netns))
		return 0;
	count_drop(&key, clue, waiting->event.length);
	event = events_enabled ? reserve_drop(key.netns, clue) : NULL;
	if (event) {
		*event = waiting->event;
		event->netns = key.netns;
		submit_drop(ctx, event);
	}
	return 0;
}

/*
 * The tracepoint got its reason argument in 5.17 and the receiving socket in 6.11. User space checks the number of
 * arguments.
 */
SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_drop_socket, struct sk_buff *skb, void *location, __u32 reason)
{
	return handle_drop(ctx, skb, (__u64)location, reason, plain_argument(ctx, 3));
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_drop_reason, struct sk_buff *skb, void *location, __u32 reason)
{
	return handle_drop(ctx, skb, (__u64)location, reason, NULL);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_drop, struct sk_buff *skb, void *location)
{
	return handle_drop(ctx, skb, (__u64)location, not_specified, NULL);
}

char LICENSE[] SEC("license") = "GPL";
