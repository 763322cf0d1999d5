// SPDX-License-Identifier: GPL-2.0-only
/* Empty programs at the hooks that the probes use. The cost of a probe's program is
 * its run time minus that of the empty program at the same hook. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define EMPTY(name, hook)           \
	SEC(hook) int name(void *c) \
	{                           \
		return 0;           \
	}

EMPTY(empty_drop, "tp_btf/kfree_skb")
EMPTY(empty_retransmit, "tp_btf/tcp_retransmit_skb")
EMPTY(empty_synack, "tp_btf/tcp_retransmit_synack")
EMPTY(empty_reset_sent, "raw_tp/tcp_send_reset")
EMPTY(empty_reset_received, "tp_btf/tcp_receive_reset")
EMPTY(empty_receive, "tp_btf/netif_receive_skb")
EMPTY(empty_ready, "tp_btf/sk_data_ready")
EMPTY(empty_queue, "tp_btf/net_dev_queue")
EMPTY(empty_exec, "tp_btf/sched_process_exec")
EMPTY(empty_work_queued, "tp_btf/workqueue_queue_work")
EMPTY(empty_work, "tp_btf/workqueue_execute_start")
EMPTY(empty_xmit, "tp_btf/net_dev_xmit")

char LICENSE[] SEC("license") = "GPL";
