// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copies the packets that the kernel loses in the chosen namespaces, with the reason and the function that dropped
 * them. Only `netsonde capture --drops` loads these programs.
 */
#include "common/argument.bpf.h"
#include "common/drop.bpf.h"
#include <bpf/bpf_tracing.h>

#define SNAP_MAX 2048
#define PROCESSED_MAX 512 /* bytes of headers that were already processed when the packet was dropped */
#define CHOSEN_MAX 2

const volatile __u64 chosen[CHOSEN_MAX] = {}; /* IDs of the namespaces; 0 for none */
const volatile __u32 snap = 0; /* maximum number of bytes of a packet; at most SNAP_MAX */

/* Is sent to user space up to the end of the captured bytes. */
struct captured_drop {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 netns;
	__u64 location; /* address of the code that dropped the packet */
	__u32 reason;
	__u32 length; /* bytes, from the network header on */
	__u32 linear; /* bytes of these that are not in page fragments */
	__u32 captured; /* bytes */
	__u32 ifindex; /* of the device; 0 if there is none */
	__u16 ethertype; /* host order */
	__u16 hardware; /* type of the device (ARPHRD_…) */
	__u16 segment; /* bytes of data in each segment of a packet that is still to be segmented; otherwise 0 */
	__u16 segments;
	__u8 packet_type; /* PACKET_… */
	__u8 is_waiting; /* see waits_for_socket() */
	__u8 spare[6];
	char device[16];
	char symbol[SYMBOL_LENGTH]; /* function of `location`; empty if unknown */
	__u8 bytes[SNAP_MAX + PROCESSED_MAX]; /* the verifier does not know that the sum of both is at most `snap` */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct captured_drop);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} captured SEC(".maps");

struct capture_counts {
	__u64 sent; /* records in the ring buffer */
	__u64 lost; /* packets for which the ring buffer had no room */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct capture_counts);
} capture_count SEC(".maps");

/* Since 6.12, tracing programs may read page fragments by this function. */
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym __weak;

static __always_inline bool is_chosen(__u64 netns)
{
	for (int i = 0; i < CHOSEN_MAX; i++)
		if (netns && chosen[i] == netns)
			return true;
	return false;
}

/* Returns the number of bytes that were copied. The bounds are repeated for the verifier. */
static __always_inline __u32 copy_linear(__u8 *bytes, const void *from, __u32 length)
{
	barrier_var(length);
	if (length == 0 || length > SNAP_MAX || bpf_probe_read_kernel(bytes, length, from))
		return 0;
	return length;
}

/*
 * Copies a packet from its network header on, where the headers before `data` were already processed. These are always
 * linear; the rest may be in page fragments.
 * @param at offset of `data` from the head of the buffer
 */
static __always_inline __u32 copy_pages(__u8 *bytes, struct sk_buff *skb, const unsigned char *head, __u32 at,
					__u32 network, __u32 want)
{
	__u32 before = at > network ? at - network : 0, skip = network > at ? network - at : 0;
	__u32 length = BPF_CORE_READ(skb, len), rest;
	struct bpf_dynptr packet;

	if (before > want)
		before = want;
	if (before > PROCESSED_MAX)
		return copy_linear(bytes, head + network, PROCESSED_MAX);
	if (before && copy_linear(bytes, head + network, before) != before)
		return 0;
	rest = length > skip ? length - skip : 0;
	if (rest > want - before)
		rest = want - before;
	if (!bpf_dynptr_from_skb || bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &packet))
		return before;
	barrier_var(rest);
	barrier_var(before);
	if (before > PROCESSED_MAX || rest == 0 || rest > SNAP_MAX)
		return before;
	return bpf_dynptr_read(bytes + before, rest, &packet, skip, 0) ? before : before + rest;
}

static __always_inline void copy_packet(struct captured_drop *drop, struct sk_buff *skb, bool with_pages)
{
	const unsigned char *head = BPF_CORE_READ(skb, head);
	__u32 at = BPF_CORE_READ(skb, data) - head, network = BPF_CORE_READ(skb, network_header);
	__u32 tail = BPF_CORE_READ(skb, tail), length = BPF_CORE_READ(skb, len), want = snap;

	/* The network header is unknown. */
	if (network == 0 || network > tail)
		network = at;
	drop->length = at > network ? length + (at - network) : length - (network - at);
	drop->linear = tail - network;
	if (want > drop->length)
		want = drop->length;
	if (with_pages)
		drop->captured = copy_pages(drop->bytes, skb, head, at, network, want);
	else
		drop->captured = copy_linear(drop->bytes, head + network, want < drop->linear ? want : drop->linear);
}

static __always_inline void describe(struct captured_drop *drop, struct sk_buff *skb, __u64 location, bool has_place)
{
	static const char format[] = "%ps";
	const struct skb_shared_info *shared = (const void *)(BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end));
	struct net_device *device = has_place ? skb->dev : NULL;

	drop->time = bpf_ktime_get_ns();
	drop->location = location;
	drop->ethertype = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	drop->packet_type = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type);
	drop->segment = BPF_CORE_READ(shared, gso_size);
	drop->segments = BPF_CORE_READ(shared, gso_segs);
	drop->ifindex = device ? BPF_CORE_READ(device, ifindex) : 0;
	drop->hardware = device ? BPF_CORE_READ(device, type) : 0;
	if (!device || bpf_probe_read_kernel_str(drop->device, sizeof(drop->device), device->name) < 0)
		drop->device[0] = 0;
	drop->symbol[0] = 0;
	if (can_print())
		bpf_snprintf(drop->symbol, sizeof(drop->symbol), format, &location, sizeof(location));
}

static __always_inline void send_drop(struct captured_drop *drop)
{
	__u32 zero = 0, captured_bytes = drop->captured;
	struct capture_counts *counts = bpf_map_lookup_elem(&capture_count, &zero);

	if (!counts)
		return;
	barrier_var(captured_bytes);
	if (captured_bytes > SNAP_MAX)
		return;
	/* User space reads by a timer. */
	if (bpf_ringbuf_output(&captured, drop, __builtin_offsetof(struct captured_drop, bytes) + captured_bytes,
			       BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&counts->lost, 1);
	else
		__sync_fetch_and_add(&counts->sent, 1);
}

static __always_inline int capture_drop(struct sk_buff *skb, __u64 location, __u32 reason, const struct sock *receiver,
					bool with_pages)
{
	bool has_place = device_netns(skb) != 0, is_waiting;
	__u64 netns = packet_netns(skb, receiver);
	__u32 zero = 0, rule = rule_of(reason);
	struct packet_view view = {};
	struct captured_drop *drop = bpf_map_lookup_elem(&scratch, &zero);

	if (!drop)
		return 0;
	drop->is_waiting = 0;
	if ((netns && !is_chosen(netns)) || !is_packet(skb, has_place))
		return 0;
	packet_view(&view, skb, rule);
	if (judge_loss(&view, rule, receiver, has_reasons, has_place) != LOST)
		return 0;
	is_waiting = waits_for_socket(&view, netns, reason, has_place);
	if (!netns && !is_waiting)
		netns = netns_elsewhere(skb, &view, LOST);
	if (!is_waiting && !is_chosen(netns))
		return 0;
	drop->netns = netns;
	drop->reason = reason;
	describe(drop, skb, location, has_place);
	copy_packet(drop, skb, with_pages);
	drop->is_waiting = is_waiting;
	if (!is_waiting)
		send_drop(drop);
	return 0;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(capture_udp, int error, struct sock *sk)
{
	__u32 zero = 0;
	struct captured_drop *drop = bpf_map_lookup_elem(&scratch, &zero);

	if (!drop || !drop->is_waiting)
		return 0;
	drop->is_waiting = 0;
	drop->netns = netns_id(sk->__sk_common.skc_net.net);
	if (is_chosen(drop->netns))
		send_drop(drop);
	return 0;
}

/* User space loads the first of these that the kernel accepts; see packetloss.bpf.c for the arguments. */
SEC("tp_btf/kfree_skb")
int BPF_PROG(capture_pages, struct sk_buff *skb, void *location, __u32 reason)
{
	return capture_drop(skb, (__u64)location, reason, plain_argument(ctx, 3), true);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(capture_socket, struct sk_buff *skb, void *location, __u32 reason)
{
	return capture_drop(skb, (__u64)location, reason, plain_argument(ctx, 3), false);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(capture_reason, struct sk_buff *skb, void *location, __u32 reason)
{
	return capture_drop(skb, (__u64)location, reason, NULL, false);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(capture_plain, struct sk_buff *skb, void *location)
{
	return capture_drop(skb, (__u64)location, not_specified, NULL, false);
}

char LICENSE[] SEC("license") = "GPL";
