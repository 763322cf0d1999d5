// SPDX-License-Identifier: GPL-2.0-only
/*
 * Summarizes the TCP sockets of every network namespace in one walk over the hash tables of the sockets.
 *
 * Connections are in `ehash` and listening sockets in `lhash2` (kernel: include/net/inet_hashtables.h). Namespaces
 * share both tables, except that a namespace may have its own `ehash` (net.ipv4.tcp_child_ehash_entries, 6.1). The walk
 * takes no locks. While it visits a socket, the socket's memory may be reused for a socket in another chain. The walk
 * detects this because the end marker of a chain contains the number of the chain.
 *
 * A call stops at its time limit and saves its position, where the next call resumes.
 */
#include "tcpsummary.bpf.h"

#define LISTENING_NULLS_BASE (1U << 29) /* kernel: include/net/inet_hashtables.h */

#define CHUNK 64 /* number of buckets that are read at once */
#define WHOLE_CHAIN 1024 /* chains of up to this number of sockets are finished even after the time limit */
#define BUCKET_BYTES_MAX 128 /* a bucket has 16 bytes, but more if lock debugging is enabled */

/* Cost of work in units of about 25 ns. The clock is read after each CLOCK_EVERY units, about every 10 µs. */
#define CLOCK_EVERY 400
#define CHUNK_COST 4
#define SOCKET_COST 4

static struct {
	__u8 buckets[CHUNK * BUCKET_BYTES_MAX];
	__u64 heads[CHUNK];
	__u8 occupied[CHUNK];
} chunk;

static __always_inline void spend(__u32 cost)
{
	walk.cost += cost;
	if (walk.cost < CLOCK_EVERY)
		return;
	walk.cost = 0;
	if (bpf_ktime_get_ns() >= walk.deadline)
		walk.expired = 1;
}

/* Moves to the next nonempty bucket of the chunk; returns false at the end of the chunk. */
static __always_inline bool enter_chain(void)
{
	__u32 nth = walk.nth, bucket;

	if (nth >= walk.occupied || nth >= CHUNK)
		return false;
	walk.nth++;
	nth = chunk.occupied[nth] & (CHUNK - 1);
	bucket = walk.first + nth;
	/* A hash table may be smaller than a chunk. */
	if (bucket >= walk.buckets)
		return false;
	/* The previous call has already counted this bucket. */
	if (bucket < walk.bucket)
		return true;
	if (bucket > walk.bucket)
		walk.counted = 0;
	walk.bucket = bucket;
	walk.skip = walk.counted;
	walk.is_resumed = walk.skip != 0;
	walk.enough = walk.counted + WHOLE_CHAIN;
	/* Read the head again because another socket may have become the first one since the chunk was read. */
	walk.node = (__u64)READ(struct hlist_nulls_head, walk.heads + (__u64)bucket * walk.stride, first);
	return true;
}

static __always_inline void leave_chain(void)
{
	if (walk.node >> 1 != walk.nulls_base + walk.bucket)
		walk.progress.strayed++;
	walk.bucket++;
	walk.counted = 0;
}

static long walk_socket(__u64 index, void *context)
{
	volatile __u64 *node = &walk.node;

	if (*node & 1)
		return enter_chain() ? 0 : 1;
	/* Skipping ignores the time limit: it is cheap, and a call that stopped here would make no progress. */
	if (walk.skip) {
		walk.skip--;
	} else {
		count_socket(*node - bpf_core_field_offset(struct sock_common, skc_nulls_node));
		walk.counted++;
		spend(SOCKET_COST);
	}
	/* Once the pointer is stored and loaded again, the verifier treats it as an integer. */
	*node = (__u64)READ(struct hlist_nulls_node, *node, next);
	if (!*node) {
		walk.progress.unreadable++;
		*node = 1;
	}
	if (*node & 1)
		leave_chain();
	else if (walk.counted < walk.enough)
		return 0;
	return walk.expired ? 1 : 0;
}

static __always_inline long walk_chunk(void)
{
	__u32 occupied = 0;

	for (int i = 0; i < CHUNK; i++) {
		chunk.occupied[occupied & (CHUNK - 1)] = i;
		occupied += !(chunk.heads[i] & 1);
	}
	walk.occupied = occupied;
	walk.nth = 0;
	walk.node = 1;
	if (occupied)
		bpf_loop(1 << 20, walk_socket, NULL, 0);
	if (walk.expired)
		return 1;
	walk.bucket = walk.first + CHUNK;
	walk.counted = 0;
	spend(CHUNK_COST);
	return walk.expired ? 1 : 0;
}

/* Returns the number of bytes to read for the current chunk. */
static __always_inline __u32 chunk_bytes(__u32 bucket_bytes)
{
	__u32 count = walk.buckets - walk.first;

	return (count < CHUNK ? count : CHUNK) * bucket_bytes;
}

static long walk_connections(__u64 index, void *context)
{
	if (walk.bucket >= walk.buckets)
		return 1;
	walk.first = walk.bucket & ~(CHUNK - 1);
	if (bpf_probe_read_kernel(chunk.heads, chunk_bytes(sizeof(__u64)), (void *)walk.heads + walk.first * 8ULL)) {
		walk.progress.unreadable++;
		return 1;
	}
	return walk_chunk();
}

static long walk_listeners(__u64 index, void *context)
{
	const __u32 stride = bpf_core_type_size(struct inet_listen_hashbucket);
	const __u32 head = bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head);

	if (walk.bucket >= walk.buckets)
		return 1;
	walk.first = walk.bucket & ~(CHUNK - 1);
	if (stride > BUCKET_BYTES_MAX ||
	    bpf_probe_read_kernel(chunk.buckets, chunk_bytes(stride),
				  (void *)walk.heads - head + (__u64)walk.first * stride)) {
		walk.progress.unreadable++;
		return 1;
	}
	for (int i = 0; i < CHUNK; i++)
		chunk.heads[i] = *(__u64 *)(chunk.buckets + i * stride + head);
	return walk_chunk();
}

/* Restores a saved position, or starts from the beginning if the position was saved by an earlier walk. */
static __always_inline void resume(const struct tcp_cursor *cursor)
{
	bool goes_on = cursor->walk == walk.progress.walk;

	walk.bucket = goes_on ? cursor->bucket : 0;
	walk.counted = goes_on ? cursor->counted : 0;
}

static __always_inline bool pause(struct tcp_cursor *cursor)
{
	cursor->walk = walk.progress.walk;
	cursor->bucket = walk.bucket;
	cursor->counted = walk.counted;
	cursor->done = walk.bucket >= walk.buckets;
	return cursor->done;
}

/*
 * Returns whether the owner's bucket limit allows a walk over the namespace's own hash table. A walk that has been
 * started is always finished.
 */
static __always_inline bool may_walk_own(struct tcp_row *row, __u64 netns, struct net *net, __u32 buckets)
{
	struct tcp_share *share;

	if (row->own.walk == walk.progress.walk)
		return true;
	share = share_of(netns, net);
	if (share && buckets <= buckets_each - share->buckets) {
		share->buckets += buckets;
		return true;
	}
	if (!row->left)
		walk.progress.hashes_left++;
	row->left = 1;
	return false;
}

/*
 * Walks the hash table with the namespace's connections unless this walk has already finished it. Returns false if the
 * time limit was reached before the end of the table.
 */
static __always_inline bool walk_netns(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct inet_hashinfo *hash = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
	struct tcp_cursor *cursor = &walk.progress.connections;
	__u32 buckets = BPF_CORE_READ(hash, ehash_mask) + 1;

	if (BPF_CORE_READ(hash, pernet)) {
		__u64 cookie = BPF_CORE_READ(net, net_cookie);
		struct tcp_row *row = row_of(cookie);

		if (!row || !may_walk_own(row, cookie, net, buckets))
			return true;
		cursor = &row->own;
	}
	if (cursor->walk == walk.progress.walk && cursor->done)
		return true;
	resume(cursor);
	walk.heads = (__u64)BPF_CORE_READ(hash, ehash);
	walk.stride = sizeof(__u64);
	walk.buckets = buckets;
	walk.nulls_base = 0;
	bpf_loop(1 << 20, walk_connections, NULL, 0);
	return pause(cursor);
}

static long step(__u64 index, struct netns_walk *netns)
{
	return netns_walk_step(index, netns, walk_netns);
}

/*
 * Walks all listening sockets. The listening sockets of all namespaces are in one table, even if a namespace has its
 * own hash table for connections.
 */
static __always_inline bool walk_all_listeners(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct inet_hashinfo *hash = BPF_CORE_READ(task, nsproxy, net_ns, ipv4.tcp_death_row.hashinfo);

	resume(&walk.progress.listeners);
	walk.heads =
		(__u64)BPF_CORE_READ(hash, lhash2) + bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head);
	walk.stride = bpf_core_type_size(struct inet_listen_hashbucket);
	walk.buckets = BPF_CORE_READ(hash, lhash2_mask) + 1;
	walk.nulls_base = LISTENING_NULLS_BASE;
	bpf_loop(1 << 20, walk_listeners, NULL, 0);
	return pause(&walk.progress.listeners);
}

/* Parts of flow_rows that a walk updates, as bits. */
enum tcp_rows_wanted {
	TCP_ROWS_WANTED_FLOWS = 1,
	TCP_ROWS_WANTED_LISTENS = 2,
	TCP_ROWS_WANTED_ROUND_TRIPS = 4,
};

SHARED_ENUM(tcp_rows_wanted);

/*
 * Arguments: number of the walk (nonzero, the same for all of its calls), maximum duration of this call in nanoseconds,
 * whether to read only listening sockets that have dropped connections, bits of enum tcp_rows_wanted. Returns whether
 * the walk is complete.
 */
SEC("raw_tp/sys_enter")
int tcp_count(struct bpf_raw_tracepoint_args *ctx)
{
	struct netns_walk netns = {};
	__u32 zero = 0, number = ctx->args[0];
	__u64 start = bpf_ktime_get_ns(), took;
	struct tcp_progress *cell = bpf_map_lookup_elem(&tcp_progress_cell, &zero);

	if (!cell)
		return 0;
	if (walk.progress.walk != number) {
		__builtin_memset(&walk.progress, 0, sizeof(walk.progress));
		walk.previous = walk.started;
		walk.started = bpf_jiffies64();
	}
	walk.progress.walk = number;
	walk.deadline = start + ctx->args[1];
	walk.expired = walk.cost = 0;
	walk.listeners_only = ctx->args[2];
	walk.flows = ctx->args[3] & TCP_ROWS_WANTED_FLOWS;
	walk.listens = ctx->args[3] & TCP_ROWS_WANTED_LISTENS;
	walk.round_trips = ctx->args[3] & TCP_ROWS_WANTED_ROUND_TRIPS;
	if (!walk.listeners_only) {
		netns_walk_begin(&netns, 0, NETNS_WALK_MAX, false);
		bpf_loop(NETNS_WALK_MAX, step, &netns, 0);
	}
	if (walk.listeners_only || netns.done)
		walk_all_listeners();
	took = bpf_ktime_get_ns() - start;
	walk.progress.total += took;
	if (took > walk.progress.longest)
		walk.progress.longest = took;
	*cell = walk.progress;
	return walk.progress.listeners.done;
}

/* Marks a row of flow_rows as evicted, so that it is no longer updated. Arguments: the words of the row's key. */
SEC("raw_tp/sys_enter")
int flow_evict(struct bpf_raw_tracepoint_args *ctx)
{
	struct flow_key key;
	__u64 *words = (void *)&key;
	struct flow_row *row;

	for (int word = 0; word < 5; word++)
		words[word] = ctx->args[word];
	row = bpf_map_lookup_elem(&flow_rows, &key);
	if (row)
		row->evicted = 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
