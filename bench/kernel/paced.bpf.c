// SPDX-License-Identifier: GPL-2.0-only
/* Submits an event-sized record with a timestamp for each getppid() call of one process. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 producer = 0; /* ID of the calling process */
const volatile __u64 call = 0; /* system call number of getppid() */
const volatile __u64 flags = 0; /* flags of bpf_ringbuf_submit() */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

struct record {
	__u64 time; /* from bpf_ktime_get_ns() */
	__u64 rest[15];
};

SEC("raw_tp/sys_enter")
int paced(struct bpf_raw_tracepoint_args *ctx)
{
	struct record *record;
	__u32 zero = 0;
	__u64 *count;

	if (ctx->args[1] != call || bpf_get_current_pid_tgid() >> 32 != producer)
		return 0;
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count = bpf_map_lookup_elem(&lost, &zero);
		if (count)
			__sync_fetch_and_add(count, 1);
		return 0;
	}
	record->time = bpf_ktime_get_ns();
	bpf_ringbuf_submit(record, flags);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
