// SPDX-License-Identifier: GPL-2.0-only
/*
 * Histograms of the time that block devices take to complete requests, by owner, device and operation, and events for
 * slow requests.
 */
#include "common/pod_filter.bpf.h"
#include "common/events.bpf.h"
#include "common/histogram.bpf.h"
#include "common/netns.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define OPERATION_MASK 0xff /* mask of the operation in cmd_flags; kernel: include/linux/blk_types.h, REQ_OP_MASK */

/* Kernel: include/linux/blk_types.h, enum req_op. Its first four operations are counted separately. */
enum block_operation {
	OPERATION_READ,
	OPERATION_WRITE,
	OPERATION_FLUSH,
	OPERATION_DISCARD,
	OPERATION_OTHER,
};

SHARED_ENUM(block_operation);

SETTING __u64 threshold = 0; /* nanoseconds; slower requests trigger an event */
const volatile __u64 node_netns = 0; /* owner of requests that the kernel itself makes */

struct block_key {
	__u64 netns; /* cookie */
	__u32 operation; /* enum block_operation */
	__u32 unused;
	char device[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct block_key);
	__type(value, struct histogram);
} block_histograms SEC(".maps");

/* A request in progress. The kernel allocates a fixed set of requests per device and reuses them. */
struct block_request {
	__u64 issued; /* nanoseconds; 0 if not issued yet */
	__u64 netns;
	__u32 pid;
	__u32 bytes;
	char process[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); /* address of the request */
	__type(value, struct block_request);
} block_requests SEC(".maps");

struct block_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 delay; /* nanoseconds */
	struct block_key key;
	__u32 bytes;
	__u32 pid;
	char process[16];
};

EVENT_RECORD(block_key);
EVENT_RECORD(block_event);

static __always_inline void read_owner(struct block_request *record)
{
	record->netns = task_netns() ?: node_netns;
	record->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(record->process, sizeof(record->process));
}

static __always_inline void keep(__u64 address, const struct block_request *record)
{
	if (bpf_map_update_elem(&block_requests, &address, record, BPF_ANY))
		count_miss(untracked);
}

static __always_inline int handle_issue(struct request *request)
{
	__u64 address = (__u64)request;
	struct block_request fresh = {}, *record = bpf_map_lookup_elem(&block_requests, &address);

	/* If the device was busy and the request is issued again, the latest time is used. */
	if (record) {
		record->bytes = request->__data_len;
		record->issued = bpf_ktime_get_ns();
		return 0;
	}
	read_owner(&fresh);
	fresh.bytes = request->__data_len;
	fresh.issued = bpf_ktime_get_ns();
	keep(address, &fresh);
	return 0;
}

static __always_inline void read_key(struct block_key *key, struct request *request)
{
	struct request___before_5_17 *old = (void *)request;
	struct gendisk *disk;

	key->operation = request->cmd_flags & OPERATION_MASK;
	if (key->operation > OPERATION_OTHER)
		key->operation = OPERATION_OTHER;
	if (bpf_core_field_exists(request->q->disk))
		disk = BPF_CORE_READ(request, q, disk);
	else
		disk = BPF_CORE_READ(old, rq_disk);
	if (disk)
		bpf_probe_read_kernel_str(key->device, sizeof(key->device), disk->disk_name);
}

static __always_inline struct histogram *histogram_made(const struct block_key *key)
{
	static const struct histogram zero = {};

	bpf_map_update_elem(&block_histograms, key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&block_histograms, key);
}

/* Returns the histogram for a key. If the owner has no free row, its requests are distinguished only by operation. */
static __always_inline struct histogram *histogram_of(const struct block_key *key)
{
	struct block_key rest = {.operation = key->operation, .device = "other"};
	struct histogram *histogram = bpf_map_lookup_elem(&block_histograms, key);
	__u32 slot;

	if (histogram)
		return histogram;
	slot = owner_slot(key->netns, (struct netns_clue){});
	if (room_take(slot)) {
		histogram = histogram_made(key);
		if (histogram)
			return histogram;
		room_give_back(slot);
	}
	rest.netns = REST_OF(slot);
	return bpf_map_lookup_elem(&block_histograms, &rest) ?: histogram_made(&rest);
}

static __always_inline void tell(const struct block_key *key, const struct block_request *record, __u64 now)
{
	struct block_event *event = event_reserve(key->netns, (struct netns_clue){}, sizeof(*event));

	if (!event)
		return;
	event->time = now;
	event->delay = now - record->issued;
	event->key = *key;
	event->bytes = record->bytes;
	event->pid = record->pid;
	__builtin_memcpy(event->process, record->process, sizeof(event->process));
	event_submit(event);
}

/* Runs in the process that makes the request. Another process may issue the request to the device later. */
SEC("tp_btf/block_io_start")
int BPF_PROG(block_io_start, struct request *request)
{
	struct block_request record = {};

	read_owner(&record);
	keep((__u64)request, &record);
	return 0;
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_rq_issue, struct request *request)
{
	return handle_issue(request);
}

/* Before 5.11 the queue was the first argument. */
SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_rq_issue_queue, void *queue, struct request *request)
{
	return handle_issue(request);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_rq_complete, struct request *request, int error, unsigned int bytes)
{
	__u64 address = (__u64)request, now;
	struct block_request *record;
	struct histogram *histogram;
	struct block_key key = {};

	/* Partial completion: the device is still processing the rest of the request. */
	if (bytes < request->__data_len)
		return 0;
	record = bpf_map_lookup_elem(&block_requests, &address);
	if (!record)
		return 0;
	now = bpf_ktime_get_ns();
	if (record->issued && record->issued < now) {
		key.netns = record->netns;
		if (!passes_pod_filter(key.netns))
			goto done;
		read_key(&key, request);
		histogram = histogram_of(&key);
		if (histogram)
			histogram_add_shared(histogram, now - record->issued);
		else
			count_miss(map_full);
		if (events_enabled && now - record->issued > threshold)
			tell(&key, record, now);
	}
done:
	bpf_map_delete_elem(&block_requests, &address);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
