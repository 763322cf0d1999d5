// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/* Maps whose contents the tests check, and constants that the tests set. */

/* A constant in its own section gets its own map, which comes before the map of the other constants. */
const volatile __u32 elsewhere SEC(".rodata.elsewhere") = 7;

const volatile bool enabled = false;
const volatile __u8 small = 1;
const volatile __u32 key_step = 1;
const volatile __u64 value_base = 1000;
const volatile __u8 label[12] = "unset";

volatile __u64 limit SEC(".data") = 5;
volatile __u16 ports[2] SEC(".data") = {1, 2};

struct pair {
	__u64 first;
	__u32 second;
	__u32 third;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} runs SEC(".maps");

/* Twelve bytes, which the kernel pads to sixteen bytes per CPU. */
struct triple {
	__u32 values[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct triple);
} triples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 512);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pair);
} rows SEC(".maps");

/* No program uses this map, so it need not be created. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} spare SEC(".maps");

struct filling {
	__u32 written;
};

static long fill_one(__u32 index, struct filling *filling)
{
	__u32 key = index * key_step;
	struct pair pair = {.first = value_base + index, .second = index, .third = ~index};
	struct pair *row = bpf_map_lookup_elem(&rows, &index);

	if (row)
		*row = pair;
	if (!bpf_map_update_elem(&pairs, &key, &pair, BPF_ANY))
		filling->written++;
	return 0;
}

/* Argument: number of pairs to write. Returns the number of pairs that fit into the map. */
SEC("raw_tp/sys_enter")
int fill(struct bpf_raw_tracepoint_args *ctx)
{
	struct filling filling = {};
	__u32 zero = 0;
	__u32 *count = bpf_map_lookup_elem(&runs, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_loop(ctx->args[0], fill_one, &filling, 0);
	return filling.written;
}

/* When attached, moves entries of the full map on every system call, even while another CPU dumps it. */
SEC("raw_tp/sys_enter")
int churn(struct bpf_raw_tracepoint_args *ctx)
{
	struct pair pair = {};
	int i;

	for (i = 0; i < 16; i++) {
		__u32 old = bpf_get_prandom_u32() % 256, new = bpf_get_prandom_u32() % 256;

		if (i & 1)
			bpf_map_delete_elem(&pairs, &old);
		bpf_map_update_elem(&pairs, &new, &pair, BPF_ANY);
	}
	return 0;
}

/*
 * When attached, repeatedly reads the first row on every system call. The writer fills each field with a
 * single repeated byte. Counts fields with different bytes in numbers[0], and changes between two reads in
 * numbers[1].
 */
SEC("raw_tp/sys_enter")
int watch_row(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0, one = 1;
	volatile struct pair *row = bpf_map_lookup_elem(&rows, &zero);
	__u64 *torn = bpf_map_lookup_elem(&numbers, &zero);
	__u64 *changes = bpf_map_lookup_elem(&numbers, &one);
	__u64 last = 0;
	int i;

	if (!row || !torn || !changes)
		return 0;
	for (i = 0; i < 64; i++) {
		__u64 first = row->first;
		__u32 third = row->third;

		if (first != (first & 0xff) * 0x0101010101010101 || third != (third & 0xff) * 0x01010101)
			__sync_fetch_and_add(torn, 1);
		if (i && first != last)
			__sync_fetch_and_add(changes, 1);
		last = first;
	}
	return 0;
}

/* Argument: number of the constant. Returns the lower 32 bits of its value. */
SEC("raw_tp/sys_enter")
int constant(struct bpf_raw_tracepoint_args *ctx)
{
	switch (ctx->args[0]) {
	case 0:
		return enabled;
	case 1:
		return small;
	case 2:
		return key_step;
	case 3:
		return value_base;
	case 4:
		return label[0] << 8 | label[11];
	case 5:
		return elsewhere;
	case 6:
		return limit;
	case 7:
		return ports[0] << 16 | ports[1];
	}
	return -1;
}

char LICENSE[] SEC("license") = "GPL";
