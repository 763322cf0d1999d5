// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts packets that the kernel frees without delivering them: lost packets by namespace and drop reason, all others
 * by namespace and class. Sends events for a limited number of losses.
 */
#include "common/pod_filter.bpf.h"
#include "common/argument.bpf.h"
#include "common/counts.bpf.h"
#include "common/drop.bpf.h"
#include "common/events.bpf.h"
#include "common/packet.bpf.h"
#include "common/shared.bpf.h"
#include "common/tracked.bpf.h"
#include "common/tunnel.bpf.h"
#include <bpf/bpf_tracing.h>

enum drop_side {
	SIDE_LOST, /* `reason` is the kernel's drop reason */
	SIDE_DISCARDED, /* `reason` is an enum discard_class */
};

/* Overflow counters for an owner without a free row. */
enum drop_rest {
	REST_LOST,
	REST_DISCARDED, /* first of the discards: REST_DISCARDED + enum discard_class */
};

SHARED_ENUM(drop_side);
SHARED_ENUM(drop_rest);

const volatile bool with_stack = false;

#define STACK_FRAMES 16

struct packet_drop_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 location; /* address of the code that dropped the packet */
	__u32 reason;
	__u32 length; /* bytes */
	struct packet_tuple tuple;
	struct packet_tunnel tunnel;
	struct tracked_connection connection;
	struct event_process process;
	char device[16];
	char symbol[SYMBOL_LENGTH]; /* symbol of `location`: function+offset/size [module]; empty if unknown */
};

struct packet_drop_stack_event {
	struct packet_drop_event drop;
	__u64 frames;
	__u64 addresses[STACK_FRAMES];
	char symbols[STACK_FRAMES][SYMBOL_LENGTH];
};

EVENT_RECORD(packet_tuple);
EVENT_RECORD(packet_tunnel);
EVENT_RECORD(tracked_connection);
EVENT_RECORD(packet_drop_event);
EVENT_RECORD(packet_drop_stack_event);

struct waiting_drop {
	__u64 is_waiting;
	struct count_key key; /* used if no socket is reported for the drop */
	struct packet_drop_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct waiting_drop);
} waiting_drops SEC(".maps");

/* Formats an address as a symbol, so that user space needs neither /proc/kallsyms nor the privilege to read it. */
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
	__builtin_memset(&event->tunnel, 0, sizeof(event->tunnel));
	packet_read_connection(&event->connection, skb);
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

/* Returns the overflow counter for a key. All losses share one counter, and each class of discards has its own. */
static __always_inline __u32 rest_of(const struct count_key *key)
{
	return key->side == SIDE_LOST ? REST_LOST : REST_DISCARDED + key->reason;
}

static __always_inline void count_drop(const struct count_key *key, struct netns_clue clue, __u32 length)
{
	count_add(key, clue, length, rest_of(key));
}

/* Counts the pending drop. Since no socket was reported for it, a full socket buffer was not the cause. */
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
	/* In queued packets, the memory of skb->dev may be used for other data. */
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
	if (waits_for_socket(&view, key.netns, reason, has_place))
		waiting = bpf_map_lookup_elem(&waiting_drops, &zero);
	if (!key.netns)
		key.netns = netns_elsewhere(skb, &view, class);
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
		tunnel_read(&event->tunnel, &view.tuple, &view.bytes);
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
 * 5.17 added the reason argument and 6.11 added the receiving socket. User space checks the number of arguments and
 * loads the matching variant.
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
