// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the TCP sockets of every network namespace add up to, by one walk over the hashes that they are in.
 *
 * Connections are in `ehash`, listening sockets in `lhash2` (kernel: include/net/inet_hashtables.h). All namespaces
 * share both, but one may have an `ehash` of its own (net.ipv4.tcp_child_ehash_entries, 6.1). The walk takes no lock.
 * The memory of a socket may become another one, in another chain, while we stand on it; the end of a chain tells which
 * chain it is.
 *
 * A call works until its time is over and notes where it stopped; the next one goes on from there.
 */
#include "common/netns_walk.bpf.h"

/* kernel: include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_TIME_WAIT 6
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11
#define TCP_STATES 16 /* the power of two above the last, TCP_NEW_SYN_RECV */

/* In other states the sequence numbers do not tell what is queued, or are not there: not every entry is a whole socket.
 */
#define WITH_QUEUES                                                                                 \
	(1U << TCP_ESTABLISHED | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT | \
	 1U << TCP_LAST_ACK | 1U << TCP_CLOSING)

#define LISTENING_NULLS_BASE (1U << 29) /* kernel: include/net/inet_hashtables.h */

#define CHUNK 64 /* buckets that are read together */
#define WHOLE_CHAIN 1024 /* sockets: a chain of up to so many is never left in the midst, though the time is over */
#define BUCKET_BYTES_MAX 128 /* 16, unless the kernel debugs its locks */

/* The clock is read once in about 10 µs of work, in units of about 25 ns. */
#define CLOCK_EVERY 400
#define CHUNK_COST 4
#define SOCKET_COST 4

/* Whether kernel memory can be read without calling a helper (6.2): the walk takes half the time. */
const volatile bool can_cast = false;

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

#define READ(type, address, field)                                                                  \
	({                                                                                          \
		type *_object = (type *)(address);                                                  \
		can_cast ? ((type *)bpf_rdonly_cast(_object, bpf_core_type_id_kernel(type)))->field \
			 : BPF_CORE_READ(_object, field);                                           \
	})

/* Where the walk over one hash goes on. */
struct tcp_cursor {
	__u32 walk; /* number of the walk that this is of */
	__u32 bucket;
	__u32 counted; /* sockets of this bucket that are counted already */
	__u32 done;
};

struct tcp_row {
	struct tcp_cursor own; /* in the namespace's own hash, if it has one */
	__u32 walk; /* number of the walk that the following is of */
	__u32 sockets[TCP_STATES];
	__u32 largest_receive_queue, largest_send_queue;
	__u64 receive_queue, send_queue;
};

/* By namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, struct tcp_row);
} tcp_rows SEC(".maps");

struct tcp_port {
	__u64 netns;
	__u64 port;
};

/* Of all sockets that listen on the port. */
struct tcp_accept_queue {
	__u32 walk;
	__u32 length;
	__u64 limit;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tcp_port);
	__type(value, struct tcp_accept_queue);
} tcp_accept_queues SEC(".maps");

/* How far a walk is, and what kept it from being right. */
struct tcp_progress {
	struct tcp_cursor connections; /* in the hash that namespaces share */
	struct tcp_cursor listeners;
	__u32 walk;
	__u32 sockets;
	__u32 rows_full; /* sockets of namespaces that there was no room for */
	__u32 accept_queues_full;
	__u32 strayed; /* chains that ended in another one */
	__u32 unreadable;
	__u64 longest, total; /* nanoseconds of one call, of all */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct tcp_progress);
} tcp_progress_cell SEC(".maps");

/*
 * The position of the call that runs; there is one at a time. In a map, where the verifier does not follow values: it
 * would look at every turn of the loops.
 */
static struct {
	__u64 deadline;
	__u64 heads; /* where the heads of the chains are: address of the first */
	__u64 node; /* in the present chain */
	__u32 stride, buckets, nulls_base;
	__u32 bucket, counted, skip, enough;
	__u32 first, occupied, nth; /* the chunk: its first bucket, how many have sockets, which of those is next */
	__u32 cost, expired;
	struct tcp_progress progress;
} walk;

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

static __always_inline struct tcp_row *row_of(__u64 netns)
{
	static const struct tcp_row fresh;
	struct tcp_row *row = bpf_map_lookup_elem(&tcp_rows, &netns);

	if (!row) {
		bpf_map_update_elem(&tcp_rows, &netns, &fresh, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&tcp_rows, &netns);
		if (!row) {
			walk.progress.rows_full++;
			return NULL;
		}
	}
	if (row->walk != walk.progress.walk) {
		row->walk = walk.progress.walk;
		__builtin_memset(row->sockets, 0, sizeof(row->sockets));
		row->largest_receive_queue = row->largest_send_queue = 0;
		row->receive_queue = row->send_queue = 0;
	}
	return row;
}

/* A socket that changes meanwhile may look as if it had less than nothing. */
static __always_inline __u32 difference(__u32 end, __u32 start)
{
	return (__s32)(end - start) < 0 ? 0 : end - start;
}

static __always_inline void add_queues(struct tcp_row *row, __u64 sk)
{
	__u32 received = difference(READ(struct tcp_sock, sk, rcv_nxt), READ(struct tcp_sock, sk, copied_seq));
	__u32 sent = difference(READ(struct tcp_sock, sk, write_seq), READ(struct tcp_sock, sk, snd_una));

	row->receive_queue += received;
	row->send_queue += sent;
	if (received > row->largest_receive_queue)
		row->largest_receive_queue = received;
	if (sent > row->largest_send_queue)
		row->largest_send_queue = sent;
}

static __always_inline void add_accept_queue(__u64 netns, __u64 sk)
{
	struct tcp_port port = {.netns = netns, .port = READ(struct sock_common, sk, skc_num)};
	struct tcp_accept_queue *queue = bpf_map_lookup_elem(&tcp_accept_queues, &port);

	if (!queue) {
		struct tcp_accept_queue fresh = {};

		bpf_map_update_elem(&tcp_accept_queues, &port, &fresh, BPF_NOEXIST);
		queue = bpf_map_lookup_elem(&tcp_accept_queues, &port);
		if (!queue) {
			walk.progress.accept_queues_full++;
			return;
		}
	}
	if (queue->walk != walk.progress.walk) {
		queue->walk = walk.progress.walk;
		queue->length = queue->limit = 0;
	}
	queue->length += READ(struct sock, sk, sk_ack_backlog);
	queue->limit += READ(struct sock, sk, sk_max_ack_backlog);
}

static __always_inline void count_socket(__u64 sk)
{
	__u64 net = (__u64)READ(struct sock_common, sk, skc_net.net);
	__u64 netns = READ(struct net, net, net_cookie);
	__u32 state = READ(struct sock_common, sk, skc_state);
	struct tcp_row *row;

	walk.progress.sockets++;
	if (!netns) {
		walk.progress.unreadable++;
		return;
	}
	row = row_of(netns);
	if (!row)
		return;
	/* A FIN_WAIT2 that nobody waits for is kept in the small form of a TIME_WAIT. */
	if (state == TCP_TIME_WAIT)
		state = READ(struct inet_timewait_sock, sk, tw_substate);
	else if (state == TCP_LISTEN)
		add_accept_queue(netns, sk);
	else if (1U << (state & (TCP_STATES - 1)) & WITH_QUEUES)
		add_queues(row, sk);
	row->sockets[state & (TCP_STATES - 1)]++;
}

/* Goes to the next bucket of the chunk that has sockets; false at the chunk's end. */
static __always_inline bool enter_chain(void)
{
	__u32 nth = walk.nth, bucket;

	if (nth >= walk.occupied || nth >= CHUNK)
		return false;
	walk.nth++;
	nth = chunk.occupied[nth] & (CHUNK - 1);
	bucket = walk.first + nth;
	/* A hash may be smaller than a chunk. */
	if (bucket >= walk.buckets)
		return false;
	/* Those before it were counted by the call before. */
	if (bucket < walk.bucket)
		return true;
	if (bucket > walk.bucket)
		walk.counted = 0;
	walk.bucket = bucket;
	walk.skip = walk.counted;
	walk.enough = walk.counted + WHOLE_CHAIN;
	/* Read again: since the chunk was read, its first socket may have become another one. */
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
	/* Skipping costs little, and has to get to its end: nothing is gained if a call ends before. */
	if (walk.skip) {
		walk.skip--;
	} else {
		count_socket(*node - bpf_core_field_offset(struct sock_common, skc_nulls_node));
		walk.counted++;
		spend(SOCKET_COST);
	}
	/* Stored and loaded again it is a number. */
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

/* Counts the sockets of a chunk. */
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

/* Bytes of this chunk, of the hash whose buckets have this size. */
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

/* Takes the position from where the walk stopped, unless that was another walk. */
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

/* Walks the hash that the namespace's connections are in, unless it has been walked; false if it is not done. */
static __always_inline bool walk_netns(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct inet_hashinfo *hash = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
	struct tcp_cursor *cursor = &walk.progress.connections;

	if (BPF_CORE_READ(hash, pernet)) {
		struct tcp_row *row = row_of(BPF_CORE_READ(net, net_cookie));

		if (!row)
			return true;
		cursor = &row->own;
	}
	if (cursor->walk == walk.progress.walk && cursor->done)
		return true;
	resume(cursor);
	walk.heads = (__u64)BPF_CORE_READ(hash, ehash);
	walk.stride = sizeof(__u64);
	walk.buckets = BPF_CORE_READ(hash, ehash_mask) + 1;
	walk.nulls_base = 0;
	bpf_loop(1 << 20, walk_connections, NULL, 0);
	return pause(cursor);
}

static long step(__u64 index, struct netns_walk *netns)
{
	return netns_walk_step(index, netns, walk_netns);
}

/* A hash of a namespace's own has connections only: the listeners of all are in one. */
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

/* args: number of the walk, never 0; nanoseconds that this call may take. Returns whether the walk is at its end. */
SEC("raw_tp/sys_enter")
int tcp_count(struct bpf_raw_tracepoint_args *ctx)
{
	struct netns_walk netns = {};
	__u32 zero = 0, number = ctx->args[0];
	__u64 start = bpf_ktime_get_ns(), took;
	struct tcp_progress *cell = bpf_map_lookup_elem(&tcp_progress_cell, &zero);

	if (!cell)
		return 0;
	if (walk.progress.walk != number)
		__builtin_memset(&walk.progress, 0, sizeof(walk.progress));
	walk.progress.walk = number;
	walk.deadline = start + ctx->args[1];
	walk.expired = walk.cost = 0;
	netns_walk_begin(&netns, 0, NETNS_WALK_MAX);
	bpf_loop(NETNS_WALK_MAX, step, &netns, 0);
	if (netns.done)
		walk_all_listeners();
	took = bpf_ktime_get_ns() - start;
	walk.progress.total += took;
	if (took > walk.progress.longest)
		walk.progress.longest = took;
	*cell = walk.progress;
	return walk.progress.listeners.done;
}

char LICENSE[] SEC("license") = "GPL";
