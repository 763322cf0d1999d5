// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports a new network namespace as soon as a process of a Pod executes a program in it, and reports its final
 * counters when the kernel removes it.
 */
#include "common/mib.bpf.h"
#include "common/misses.bpf.h"
#include "common/netns_walk.bpf.h"
#include "common/owner.bpf.h"
#include "common/pid.bpf.h"
#include "common/share.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_tracing.h>

const volatile __u32 pid_namespace = 0; /* inode number of the node's PID namespace; other processes are ignored */
const volatile __u64 node_netns = 0; /* the node's own namespace, which is not reported */
const volatile __u32 possible_cpus = 1; /* number of CPUs in percpu_cpus */
const volatile __u32 deaths_max = 64; /* maximum number of namespaces copied per run, because a run occupies its CPU */

/* Type of a record, stored in its first member. */
enum life_kind { LIFE_BIRTH, LIFE_DEATH };

SHARED_ENUM(life_kind);

struct life_birth {
	__u32 kind;
	__u32 inum;
	__u64 netns;
	__u64 start; /* start time of the process in nanoseconds after boot */
	__u32 pid;
	struct owner_names owner;
};

struct life_death {
	__u32 kind;
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 boot; /* the same time in nanoseconds after boot, comparable with life_birth.start */
	struct mib_row row;
};

#define RING_BYTES (1 << 19)

/*
 * Has space for 116 deaths and 80 births. The size is limited because user space maps the ring buffer twice and all of
 * it counts as resident memory.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} records SEC(".maps");

const struct life_birth *const volatile life_birth_record = NULL;
const struct life_death *const volatile life_death_record = NULL;

/* Owner for which a namespace was last reported, and the time of the namespace's first report. */
struct told_owner {
	__u64 owner; /* kernfs ID of the owner's directory */
	__u64 first; /* nanoseconds after boot */
};

/*
 * Reported namespaces. If an entry is evicted, its namespace is reported again. In the first minute, a namespace is
 * reported for each owner that executes a program in it, because it may have been created or prepared by an owner other
 * than its Pod.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, struct told_owner);
} owned SEC(".maps");

#define YOUNG_NS 60000000000ULL

/*
 * Maximum number of reports per owner per second. Pods start with only a few namespaces, and an owner that creates many
 * must not fill the ring buffer. The limit is tracked by a hash of the owner; owners with the same hash share it.
 */
#define BIRTHS_EACH 16
#define BIRTHS_NS 1000000000ULL
#define BIRTH_BITS 10

struct birth_share {
	__u64 begun; /* start of the current second in nanoseconds after boot */
	__u64 told; /* number of reports in the current second */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << BIRTH_BITS);
	__type(key, __u32);
	__type(value, struct birth_share);
} births SEC(".maps");

static __always_inline bool take_birth(__u64 owner, __u64 now)
{
	__u32 index = (owner * 0x9e3779b97f4a7c15ULL) >> (64 - BIRTH_BITS);
	struct birth_share *share = bpf_map_lookup_elem(&births, &index);

	if (!share)
		return false;
	if (now - share->begun > BIRTHS_NS) {
		share->begun = now;
		share->told = 0;
	}
	return share->told++ < BIRTHS_EACH;
}

/*
 * Bytes that deaths leave free for births. If a birth is not reported, the Pod may end before a scan finds it, and then
 * its end is not reported either.
 */
#define BIRTH_ROOM (RING_BYTES / 8)

/* Any process may create cgroups that look like containers, so half of the ring buffer is reserved for Pods. */
static __always_inline bool ring_has_room(bool is_pod)
{
	return is_pod || bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) < RING_BYTES / 2;
}

/* By the time a container executes its first program, its network namespace and cgroup no longer change. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_executes, struct task_struct *task)
{
	struct net *net = task->nsproxy->net_ns;
	__u64 netns = net->net_cookie;
	__u64 address = bpf_get_current_task(); /* `task` as an integer */
	const struct pid_namespace *pids = NULL;
	struct told_owner told = {}, *before;
	const struct owner_names *owner;
	struct life_birth *birth;
	__u32 pid;

	if (netns == node_netns)
		return 0;
	before = bpf_map_lookup_elem(&owned, &netns);
	told.first = bpf_ktime_get_boot_ns();
	if (before && told.first - before->first > YOUNG_NS)
		return 0;
	pid = pid_in_namespace(task, pid_namespace, &pids);
	told.owner = pid ? owner_search_task(address, owner_base(pids)) : 0;
	owner = owner_found();
	if (!told.owner || !owner || (before && before->owner == told.owner))
		return 0;
	birth = take_birth(told.owner, told.first) && ring_has_room(owner->pod.text[0])
			? bpf_ringbuf_reserve(&records, sizeof(*birth), 0)
			: NULL;
	if (!birth) {
		count_miss(untracked);
		return 0;
	}
	if (before)
		before->owner = told.owner;
	else
		bpf_map_update_elem(&owned, &netns, &told, BPF_ANY);
	birth->kind = LIFE_BIRTH;
	birth->inum = BPF_CORE_READ(net, ns.inum);
	birth->netns = netns;
	birth->start = BPF_CORE_READ(task, start_boottime);
	birth->pid = pid;
	__builtin_memcpy(&birth->owner, owner, sizeof(birth->owner));
	bpf_ringbuf_submit(birth, 0);
	return 0;
}

/* Maximum number of unlisted namespaces copied per run. A node starts fewer Pods than this per second. */
#define UNLISTED_MAX 96

/*
 * State of the cleanup_net() hook. The counters of a walk are stored here and not on the stack because the verifier of
 * Linux 7.2 tracks values on the stack and would check the loop for each value.
 */
struct cleanup_state {
	__u64 function; /* address of cleanup_net(), which is not exported; taken from the workqueue `netns` */
	__u32 steps; /* maximum number of steps per run */
	__u32 copies;
	__u32 unlisted; /* number of copied namespaces that are unlisted */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cleanup_state);
} cleanup SEC(".maps");

static __always_inline struct cleanup_state *find_cleanup(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cleanup, &zero);
}

struct death_walk {
	struct netns_walk netns; /* must be first because netns_walk_step() passes a pointer to it to the callback */
	struct mib_cpus cpus;
};

static __always_inline void copy_counters(struct net *net, const struct mib_cpus *cpus)
{
	__u32 zero = 0;
	struct mib_row *row = bpf_map_lookup_elem(&mib_rows, &zero);
	struct life_death *death;

	if (!row || !mib_write(0, net, NETNS_DYING, cpus))
		return;
	death = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) < RING_BYTES - BIRTH_ROOM
			? bpf_ringbuf_reserve(&records, sizeof(*death), 0)
			: NULL;
	if (!death) {
		count_miss(map_full);
		return;
	}
	death->kind = LIFE_DEATH;
	death->time = bpf_ktime_get_ns();
	death->boot = bpf_ktime_get_boot_ns();
	bpf_probe_read_kernel(&death->row, sizeof(death->row), row);
	bpf_ringbuf_submit(death, 0);
}

/*
 * Returns whether the final counters of a namespace are needed, which is the case if it is listed or was reported when
 * it was created. A Pod that lives for only milliseconds is removed before it is listed.
 */
static __always_inline bool is_wanted(struct cleanup_state *state, __u64 netns)
{
	if (bpf_map_lookup_elem(&owners, &netns))
		return true;
	if (!bpf_map_lookup_elem(&owned, &netns))
		return false;
	if (state->unlisted++ < UNLISTED_MAX)
		return true;
	count_miss(map_full);
	return false;
}

static __always_inline bool visit(struct netns_walk *netns, struct net *net, __u32 flags)
{
	struct cleanup_state *state;

	if (!(flags & NETNS_DYING))
		return true;
	state = find_cleanup();
	if (!state || !is_wanted(state, BPF_CORE_READ(net, net_cookie)))
		return true;
	if (state->copies++ < deaths_max)
		copy_counters(net, &((struct death_walk *)netns)->cpus);
	else
		count_miss(map_full);
	return true;
}

static long step(__u64 index, struct death_walk *walk)
{
	return netns_walk_step(index, &walk->netns, visit);
}

SEC("tp_btf/workqueue_queue_work")
int BPF_PROG(work_queued, int cpu, struct pool_workqueue *queue, struct work_struct *work)
{
	struct cleanup_state *state = find_cleanup();
	char name[8] = {};

	if (!state || state->function)
		return 0;
	bpf_probe_read_kernel_str(name, sizeof(name), queue->wq->name);
	if (name[0] == 'n' && name[1] == 'e' && name[2] == 't' && name[3] == 'n' && name[4] == 's' && !name[5])
		state->function = (__u64)work->func;
	return 0;
}

/*
 * Runs just before cleanup_net() removes the namespaces that have no references left. They are still in the list, and
 * their counters are final because all of their sockets are closed. A single row is enough because cleanup_net() never
 * runs concurrently.
 */
SEC("tp_btf/workqueue_execute_start")
int BPF_PROG(work_starts, struct work_struct *work)
{
	struct cleanup_state *state = find_cleanup();
	struct death_walk walk = {};

	if (!state || !state->function || (__u64)work->func != state->function)
		return 0;
	state->copies = state->unlisted = 0;
	state->steps = NETNS_WALK_MAX;
	walk.cpus.anchor = percpu_anchor_base();
	walk.cpus.count = possible_cpus;
	netns_walk_begin(&walk.netns, 0, *(volatile __u32 *)&state->steps, false);
	bpf_loop(NETNS_WALK_MAX, step, &walk, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
