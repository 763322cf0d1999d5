// SPDX-License-Identifier: GPL-2.0-only
/* Time that softirqs wait between being raised and being run, and time that they run, by vector. */
#include "common/events.bpf.h"
#include "common/histogram.bpf.h"
#include "common/shared.bpf.h"
#include <bpf/bpf_tracing.h>

/* Kernel: include/linux/interrupt.h */
enum softirq_vector {
	VECTOR_HI,
	VECTOR_TIMER,
	VECTOR_NET_TX,
	VECTOR_NET_RX,
	VECTOR_BLOCK,
	VECTOR_IRQ_POLL,
	VECTOR_TASKLET,
	VECTOR_SCHED,
	VECTOR_HRTIMER,
	VECTOR_RCU,
};

#define VECTORS (VECTOR_RCU + 1)

enum softirq_kind { KIND_WAIT, KIND_RUN };

#define KINDS (KIND_RUN + 1)

SHARED_ENUM(softirq_vector);
SHARED_ENUM(softirq_kind);

const volatile __u32 vectors = 0; /* one bit per measured vector */
SETTING __u64 threshold = 0; /* nanoseconds; longer waits and runs trigger an event */
const volatile __u64 node_netns = 0; /* owner to which events are charged */

/* State of one CPU. A CPU runs its own softirqs, one at a time. */
struct softirq_clock {
	__u64 raised[VECTORS]; /* time in nanoseconds; 0 if not raised */
	__u64 entered; /* start of the running softirq in nanoseconds; 0 if none is running */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct softirq_clock);
} softirq_clocks SEC(".maps");

/* Indexed by vector * KINDS + kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VECTORS *KINDS);
	__type(key, __u32);
	__type(value, struct histogram);
} softirq_histograms SEC(".maps");

struct softirq_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 delay; /* nanoseconds */
	__u32 vector;
	__u32 kind;
	__u32 cpu;
	__u32 pid;
	char task[16];
};

EVENT_RECORD(softirq_event);

static __always_inline struct softirq_clock *clock_of(__u32 vector)
{
	__u32 zero = 0;

	if (vector >= VECTORS || !(vectors & (1U << vector)))
		return NULL;
	return bpf_map_lookup_elem(&softirq_clocks, &zero);
}

/* Returns a pointer to the time at which a vector was raised. */
static __always_inline __u64 *raised_of(struct softirq_clock *clock, __u32 vector)
{
	/*
	 * Keeps the value in one register. Otherwise the compiler may check the bound on a copy, and the verifier would
	 * not apply the bound to the original.
	 */
	barrier_var(vector);
	return vector < VECTORS ? &clock->raised[vector] : NULL;
}

static __always_inline void observe(__u32 vector, __u32 kind, __u64 begun, __u64 now)
{
	__u32 index = vector * KINDS + kind;
	struct histogram *histogram = bpf_map_lookup_elem(&softirq_histograms, &index);
	__u64 delay = now - begun;
	struct softirq_event *event;

	if (histogram)
		histogram_add(histogram, delay);
	if (!events_enabled || delay <= threshold)
		return;
	event = event_reserve(node_netns, (struct netns_clue){}, sizeof(*event));
	if (!event)
		return;
	event->time = now;
	event->delay = delay;
	event->vector = vector;
	event->kind = kind;
	event->cpu = bpf_get_smp_processor_id();
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(event->task, sizeof(event->task));
	event_submit(event);
}

/* If a pending vector is raised again, the time of the first raise is kept. */
SEC("tp_btf/softirq_raise")
int BPF_PROG(softirq_raise, __u32 vector)
{
	struct softirq_clock *clock = clock_of(vector);
	__u64 *raised = clock ? raised_of(clock, vector) : NULL;

	if (raised && !*raised)
		*raised = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(softirq_entry, __u32 vector)
{
	struct softirq_clock *clock = clock_of(vector);
	__u64 *raised = clock ? raised_of(clock, vector) : NULL;
	__u64 now, since;

	if (!raised)
		return 0;
	now = bpf_ktime_get_ns();
	clock->entered = now;
	/*
	 * Not an atomic exchange, which BPF supports only since 5.12. If an interrupt raises the vector between the two
	 * statements, the new raise is merged with the earlier one.
	 */
	since = *raised;
	*raised = 0;
	if (since && since < now)
		observe(vector, KIND_WAIT, since, now);
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(softirq_exit, __u32 vector)
{
	struct softirq_clock *clock = clock_of(vector);
	__u64 entered;

	if (!clock)
		return 0;
	entered = clock->entered;
	clock->entered = 0;
	if (entered)
		observe(vector, KIND_RUN, entered, bpf_ktime_get_ns());
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
