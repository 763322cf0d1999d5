// SPDX-License-Identifier: GPL-2.0-only
/* Time that the hypervisor takes to execute control commands of virtio-net devices. */
#include "common/argument.bpf.h"
#include "common/events.bpf.h"
#include "common/histogram.bpf.h"
#include "common/kernel.h"
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

SETTING __u64 threshold = 0; /* nanoseconds; slower commands trigger an event */
const volatile __u64 node_netns = 0; /* owner to which events are charged */

/* A pending command. The driver waits for the response in the thread that sent the command. */
struct virtio_command {
	__u64 begun; /* time at which the command was sent, in nanoseconds */
	__u64 driver; /* address of the struct virtnet_info */
	__u8 class, command;
};

/*
 * Commands by process and thread ID. An entry is removed when its command completes. If the program missed the
 * completion, the entry stays until the thread sends another command or the LRU map evicts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct virtio_command);
} virtio_commands SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} virtio_histograms SEC(".maps");

struct virtio_event {
	__u64 time; /* bpf_ktime_get_ns() */
	__u64 delay; /* nanoseconds */
	__u32 pid;
	__u8 class, command;
	char device[16];
	char process[16];
};

EVENT_RECORD(virtio_event);

static __always_inline int handle_command(const void *driver, __u8 class, __u8 command)
{
	struct virtio_command record = {.driver = (__u64)driver, .class = class, .command = command};
	__u64 thread = bpf_get_current_pid_tgid();

	record.begun = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&virtio_commands, &thread, &record, BPF_ANY))
		count_miss(untracked);
	return 0;
}

static __always_inline void tell(const struct virtio_command *record, __u64 thread, __u64 now)
{
	struct virtnet_info *driver = (void *)record->driver;
	struct virtio_event *event = event_reserve(node_netns, (struct netns_clue){}, sizeof(*event));

	if (!event)
		return;
	event->time = now;
	event->delay = now - record->begun;
	event->pid = thread >> 32;
	event->class = record->class;
	event->command = record->command;
	event->device[0] = 0;
	if (bpf_core_field_exists(driver->dev))
		bpf_probe_read_kernel_str(event->device, sizeof(event->device), BPF_CORE_READ(driver, dev)->name);
	bpf_get_current_comm(event->process, sizeof(event->process));
	event_submit(event);
}

static __always_inline int handle_answer(void)
{
	__u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct virtio_command *record = bpf_map_lookup_elem(&virtio_commands, &thread);
	__u32 zero = 0;
	struct histogram *histogram = bpf_map_lookup_elem(&virtio_histograms, &zero);

	/* A command without a record was sent before the program was attached. */
	if (!record || !histogram)
		return 0;
	histogram_add_shared(histogram, now - record->begun);
	if (events_enabled && now - record->begun > threshold)
		tell(record, thread, now);
	bpf_map_delete_elem(&virtio_commands, &thread);
	return 0;
}

/* The first three arguments of both functions are the driver, the class and the command. */
#define AT_COMMAND(name, function)                                                                         \
	SEC("fentry/" #function) int name##_entry(__u64 *ctx)                                              \
	{                                                                                                  \
		return handle_command(plain_argument(ctx, 0), (__u64)plain_argument(ctx, 1),               \
				      (__u64)plain_argument(ctx, 2));                                      \
	}                                                                                                  \
	SEC("fexit/" #function) int name##_exit(__u64 *ctx)                                                \
	{                                                                                                  \
		return handle_answer();                                                                    \
	}                                                                                                  \
	SEC("kprobe/" #function) int name##_probe(struct pt_regs *ctx)                                     \
	{                                                                                                  \
		return handle_command((void *)PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx)); \
	}                                                                                                  \
	SEC("kretprobe/" #function) int name##_return(struct pt_regs *ctx)                                 \
	{                                                                                                  \
		return handle_answer();                                                                    \
	}

AT_COMMAND(command, virtnet_send_command)
AT_COMMAND(command_reply, virtnet_send_command_reply)

char LICENSE[] SEC("license") = "GPL";
