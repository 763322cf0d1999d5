// SPDX-License-Identifier: GPL-2.0-only
/* Packets that the kernel threw away, by namespace and reason; and for a limited number the scene. */
#include "common/aim.bpf.h"
#include "common/argument.bpf.h"
#include "common/counts.bpf.h"
#include "common/events.bpf.h"
#include "common/packet.bpf.h"
#include "common/process.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_tracing.h>

enum drop_side {
	SIDE_LOST,
	SIDE_IGNORED, /* no loss by configuration */
};

enum drop_limit {
	DROP_REASONS = 256, /* the kernel's own are below; those of a subsystem have its number in the high half */
	DROP_FUNCTIONS = 16,
	DROP_FUNCTION_LENGTH = 32, /* with the NUL */
	DROP_PLACES = 2 * DROP_FUNCTIONS, /* the compiler may have split a function */
};

SHARED_ENUM(drop_side);
SHARED_ENUM(drop_limit);

const volatile __u32 not_specified = 0; /* the number of this reason, which is another one before 6.3 */
const volatile __u8 no_loss[DROP_REASONS] = {};
/* Functions whose drops without a reason are no loss. Padded with zeros. */
const volatile char no_loss_functions[DROP_FUNCTIONS][DROP_FUNCTION_LENGTH] __attribute__((aligned(8))) = {};
/* The places of those functions, from and up to: for a kernel that does not put an address into words. */
const volatile __u64 no_loss_places[DROP_PLACES][2] = {};
/* Multicast that is dropped without a reason, or with this one, is no loss. */
const volatile bool no_loss_multicast = false;
const volatile __u32 no_route = 0;
const volatile bool with_stack = false;

/* Whether a place in the kernel is in one of no_loss_functions, by its address: found out once. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} packet_drop_places SEC(".maps");

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
				       const struct count_key *key)
{
	struct net_device *device = skb->dev;

	event->time = bpf_ktime_get_ns();
	event->netns = key->netns;
	event->location = location;
	event->reason = key->reason;
	event->length = skb->len;
	__builtin_memset(&event->tuple, 0, sizeof(event->tuple));
	packet_read_tuple(&event->tuple, skb);
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

/* The compiler may have split a function: `name.part.0` is in `name`. */
static __always_inline void cut_suffix(char *name)
{
	bool cut = false;

	for (int i = 0; i < DROP_FUNCTION_LENGTH; i++) {
		cut = cut || name[i] == '.' || name[i] == ' ';
		if (cut)
			name[i] = 0;
	}
}

static __always_inline bool is_in_no_loss_place(__u64 location)
{
	for (int i = 0; i < DROP_PLACES; i++) {
		if (location >= no_loss_places[i][0] && location < no_loss_places[i][1])
			return true;
	}
	return false;
}

static __always_inline bool is_in_no_loss_function(__u64 location)
{
	static const char format[] = "%ps";
	__u32 *known = bpf_map_lookup_elem(&packet_drop_places, &location), found = 0;
	__u64 name[DROP_FUNCTION_LENGTH / sizeof(__u64)] = {};

	if (known)
		return *known;
	if (!can_print())
		return is_in_no_loss_place(location);
	bpf_snprintf((char *)name, sizeof(name), format, &location, sizeof(location));
	cut_suffix((char *)name);
	for (int i = 0; i < DROP_FUNCTIONS; i++) {
		const volatile __u64 *candidate = (const volatile __u64 *)no_loss_functions[i];

		if (candidate[0] && candidate[0] == name[0] && candidate[1] == name[1] && candidate[2] == name[2] &&
		    candidate[3] == name[3])
			found = 1;
	}
	bpf_map_update_elem(&packet_drop_places, &location, &found, BPF_ANY);
	return found;
}

/* Kernel: include/uapi/linux/if_packet.h */
#define PACKET_MULTICAST 2
#define PACKET_LOOPBACK 5 /* multicast of our own, as it comes back */

/* The kernel drops what comes for a group that nobody here has joined for want of a route, or gives no reason. */
static __always_inline bool is_multicast(const struct sk_buff *skb)
{
	__u8 type = BPF_CORE_READ_BITFIELD(skb, pkt_type);

	return type == PACKET_MULTICAST || type == PACKET_LOOPBACK;
}

static __always_inline bool is_no_loss(struct sk_buff *skb, __u64 location, __u32 reason)
{
	__u16 ethertype;

	/* One register for check and access: the compiler would check a copy, which the verifier does not follow. */
	barrier_var(reason);
	if (reason >= DROP_REASONS)
		return false;
	if (no_loss[reason])
		return true;
	if (no_loss_multicast && (reason == not_specified || reason == no_route) && is_multicast(skb))
		return true;
	if (reason != not_specified)
		return false;
	/* Netlink and Unix messages are freed this way as well. */
	ethertype = bpf_ntohs(skb->protocol);
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6)
		return true;
	return is_in_no_loss_function(location);
}

static __always_inline int handle_drop(void *ctx, struct sk_buff *skb, __u64 location, __u32 reason,
				       const struct sock *receiver)
{
	struct count_key key = {.netns = packet_netns(skb, receiver), .reason = reason};

	if (!is_aimed_at(key.netns))
		return 0;
	key.side = is_no_loss(skb, location, reason) ? SIDE_IGNORED : SIDE_LOST;
	if (!key.netns) {
		if (key.side == SIDE_LOST)
			count_miss(no_netns);
		return 0;
	}
	count_add(&key, skb->len);
	if (key.side == SIDE_IGNORED || !events_enabled)
		return 0;
	if (with_stack) {
		struct packet_drop_stack_event *event = event_reserve(key.netns, sizeof(*event));

		if (event) {
			fill_event(&event->drop, skb, location, &key);
			fill_stack(ctx, event);
			event_submit(event);
		}
	} else {
		struct packet_drop_event *event = event_reserve(key.netns, sizeof(*event));

		if (event) {
			fill_event(event, skb, location, &key);
			event_submit(event);
		}
	}
	return 0;
}

/* The tracepoint got the reason in 5.17 and the receiving socket in 6.11; user space counts its arguments. */
SEC("tp_btf/kfree_skb")
int BPF_PROG(packet_drop_socket, struct sk_buff *skb, void *location, __u32 reason)
{
	return handle_drop(ctx, skb, (__u64)location, reason, skb->dev ? NULL : plain_argument(ctx, 3));
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
