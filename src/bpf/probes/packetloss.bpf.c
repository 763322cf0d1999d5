// SPDX-License-Identifier: GPL-2.0-only
/* Packets that the kernel frees unused: those lost by namespace and reason, the rest by class; and for a limited number
 * of losses the scene. */
#include "common/aim.bpf.h"
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
	SIDE_LOST, /* reason: the kernel's */
	SIDE_DISCARDED, /* reason: the class */
};

enum drop_limit {
	DROP_REASONS = 256, /* the kernel's own are below; those of a subsystem have its number in the high half */
	DROP_SUBSYSTEMS = 8,
};

SHARED_ENUM(drop_side);
SHARED_ENUM(drop_limit);

const volatile __u32 not_specified = 0; /* the number of this reason, which is another one before 6.3 */
const volatile bool has_reasons = false; /* since 5.17 */
const volatile __u8 rules[DROP_REASONS] = {}; /* enum loss_rule, by reason */
const volatile __u8 subsystem_rules[DROP_SUBSYSTEMS] = {};
const volatile __u64 node_netns = 0; /* what has left its namespace's device and socket is the node's */
const volatile bool with_stack = false;

#define SYMBOL_LENGTH 80
#define STACK_FRAMES 16

struct packet_drop_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 location; /* address; symbol says the same, where it can */
	__u32 reason;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
	struct event_process process;
	char device[16];
	char symbol[SYMBOL_LENGTH]; /* function+offset/size [module] */
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

/* Since 5.13; before, user space looks into /proc/kallsyms. */
static __always_inline bool can_print(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf);
}

/* The kernel puts an address into words, so that user space needs neither /proc/kallsyms nor the right to read it. */
static __always_inline void print_symbol(char *symbol, __u64 address)
{
	static const char format[] = "%pS";

	symbol[0] = 0;
	if (can_print())
		bpf_snprintf(symbol, SYMBOL_LENGTH, format, &address, sizeof(address));
}

static __always_inline void fill_event(struct packet_drop_event *event, struct sk_buff *skb, __u64 location,
				       const struct count_key *key, const struct packet_view *view)
{
	struct net_device *device = skb->dev;

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

	/* One register for check and access: the compiler would check a copy, which the verifier does not follow. */
	barrier_var(reason);
	barrier_var(subsystem);
	if (reason < DROP_REASONS)
		return rules[reason];
	return subsystem < DROP_SUBSYSTEMS ? subsystem_rules[subsystem] : RULE_UNKNOWN;
}

/* Netlink and Unix messages are freed this way as well: they have neither an IP header nor that of a link. */
static __always_inline bool is_packet(struct sk_buff *skb, bool has_place)
{
	__u16 ethertype = bpf_ntohs(skb->protocol);

	return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 ||
	       (has_place && skb->mac_header != HEADER_UNSET);
}

/*
 * For a packet that has neither device nor socket any more: a checksum that is looked at when the process reads, or
 * fragments whose rest did not come. What is nobody's is the node's.
 */
static __always_inline __u64 netns_elsewhere(const struct packet_view *view, int class)
{
	__u64 netns = 0;

	if (view->is_delivered && class == LOST)
		netns = in_process() ? task_netns() : fragment_timer_netns();
	return netns ?: node_netns;
}

static __always_inline int handle_drop(void *ctx, struct sk_buff *skb, __u64 location, __u32 reason,
				       const struct sock *receiver)
{
	bool has_place = device_netns(skb) != 0;
	struct count_key key = {.netns = packet_netns(skb, receiver)};
	struct packet_view view = {};
	int class;

	if (!is_packet(skb, has_place))
		return 0;
	packet_view(&view, skb);
	class = judge_loss(&view, rule_of(reason), receiver, has_reasons, has_place);
	if (!key.netns)
		key.netns = netns_elsewhere(&view, class);
	if (!is_aimed_at(key.netns))
		return 0;
	key.side = class == LOST ? SIDE_LOST : SIDE_DISCARDED;
	key.reason = class == LOST ? reason : class;
	count_add(&key, skb->len);
	if (class != LOST || !events_enabled)
		return 0;
	if (with_stack) {
		struct packet_drop_stack_event *event = event_reserve(key.netns, sizeof(*event));

		if (event) {
			fill_event(&event->drop, skb, location, &key, &view);
			fill_stack(ctx, event);
			event_submit(event);
		}
	} else {
		struct packet_drop_event *event = event_reserve(key.netns, sizeof(*event));

		if (event) {
			fill_event(event, skb, location, &key, &view);
			event_submit(event);
		}
	}
	return 0;
}

/* The tracepoint got the reason in 5.17 and the receiving socket in 6.11; user space counts its arguments. */
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
