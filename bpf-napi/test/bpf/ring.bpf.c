// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Writes numbered records of different lengths, so that lost, duplicated and truncated records are detected.
 */

#define RECORD_BYTES_MAX 256

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} no_ring SEC(".maps");

__u32 sequence;

struct emission {
	__u64 bytes;
	__u64 flags;
	__u32 lost;
};

/* Writes one record: its number, its length, and bytes that are all equal to the lower byte of its number. */
static long emit_one(__u32 index, struct emission *emission)
{
	__u32 record[RECORD_BYTES_MAX / sizeof(__u32)];
	__u32 number = __sync_fetch_and_add(&sequence, 1);
	__u32 bytes = emission->bytes ?: 8 + number % 64;
	int i;

	if (bytes < 8 || bytes > sizeof(record))
		return 1;
	for (i = 2; i < RECORD_BYTES_MAX / sizeof(__u32); i++)
		record[i] = (number & 0xff) * 0x01010101;
	record[0] = number;
	record[1] = bytes;
	if (bpf_ringbuf_output(&records, record, bytes, emission->flags))
		emission->lost++;
	return 0;
}

static int emit_all(struct bpf_raw_tracepoint_args *ctx, __u64 flags)
{
	struct emission emission = {.bytes = ctx->args[1], .flags = flags};

	bpf_loop(ctx->args[0], emit_one, &emission, 0);
	return emission.lost;
}

/*
 * Arguments: number of records, number of bytes per record (0 for alternating lengths of 8 to 71). Returns
 * the number of records that did not fit.
 */
SEC("raw_tp/sys_enter")
int emit(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_all(ctx, BPF_RB_NO_WAKEUP);
}

/* Like `emit`, but the kernel notifies the reader if it has read all earlier records. */
SEC("raw_tp/sys_enter")
int emit_waking(struct bpf_raw_tracepoint_args *ctx)
{
	return emit_all(ctx, 0);
}

char LICENSE[] SEC("license") = "GPL";
