// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Iterators over the sockets of a namespace and over a map, and one whose hook does not exist. */

#define RELOCATED   __attribute__((preserve_access_index))
#define ENTRY_BYTES 4096

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
	struct seq_file *seq;
} RELOCATED;

struct sock_common {
	__u16 skc_num;
} RELOCATED;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} RELOCATED;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} RELOCATED;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} entries SEC(".maps");

const volatile __u32 copies = 1;
char filler[ENTRY_BYTES];

/* Writes the local port of each socket. */
SEC("iter/tcp")
int tcp_ports(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	__u16 port;

	if (!sk)
		return 0;
	port = sk->skc_num;
	bpf_seq_write(ctx->meta->seq, &port, sizeof(port));
	return 0;
}

/* Writes the key and value of each entry. */
SEC("iter/bpf_map_elem")
int map_entries(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	__u64 entry[2];

	if (!key || !value)
		return 0;
	entry[0] = *key;
	entry[1] = *value;
	bpf_seq_write(ctx->meta->seq, entry, sizeof(entry));
	return 0;
}

/* Writes `copies` times 4096 bytes for each entry. */
SEC("iter/bpf_map_elem")
int map_filler(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 i;

	if (!ctx->key)
		return 0;
	for (i = 0; i < 16 && i < copies; i++)
		bpf_seq_write(ctx->meta->seq, filler, sizeof(filler));
	return 0;
}

SEC("iter/no_such_thing")
int no_such_iterator(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int no_iterator(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
