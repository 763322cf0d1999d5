// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/in6.h>
#include <linux/types.h>
#include <stdbool.h>

/*
 * Kernel types used by the programs, with only the fields that they access. CO-RE adjusts each access to the layout of
 * the running kernel, so the order of fields and the padding do not matter. If a field exists only in some kernels,
 * programs check for it with bpf_core_field_exists().
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

/* A list ends with an odd value instead of NULL: (number << 1) | 1, where the number identifies the hash chain. */
struct hlist_nulls_node {
	struct hlist_nulls_node *next, **pprev;
};

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

struct proc_ns_operations;

struct ns_common {
	const struct proc_ns_operations *ops;
	unsigned int inum;
	refcount_t __ns_ref; /* 6.18 */
};

/* Before 6.18 the reference count had a different name. */
struct ns_common___before_6_18 {
	refcount_t count;
};

/* MIBs are per-CPU (kernel: include/net/snmp.h). The programs only need their sizes. */
struct tcp_mib {
	unsigned long mibs[1];
};

struct linux_mib {
	unsigned long mibs[1];
};

struct udp_mib {
	unsigned long mibs[1];
};

struct ipstats_mib {
	__u64 mibs[1];
};

struct icmp_mib {
	unsigned long mibs[1];
};

struct icmpv6_mib {
	unsigned long mibs[1];
};

/* Shared by all CPUs. Counts of received messages by type, followed by counts of sent messages. */
struct icmpmsg_mib {
	long mibs[512];
};

struct icmpv6msg_mib {
	long mibs[512];
};

struct netns_mib {
	struct ipstats_mib *ip_statistics;
	struct ipstats_mib *ipv6_statistics;
	struct tcp_mib *tcp_statistics;
	struct linux_mib *net_statistics;
	struct udp_mib *udp_statistics;
	struct udp_mib *udp_stats_in6;
	struct udp_mib *udplite_statistics;
	struct udp_mib *udplite_stats_in6;
	struct icmp_mib *icmp_statistics;
	struct icmpmsg_mib *icmpmsg_statistics;
	struct icmpv6_mib *icmpv6_statistics;
	struct icmpv6msg_mib *icmpv6msg_statistics;
};

struct ipv4_devconf {
	int data[1];
};

typedef struct {
	long counter;
} atomic_long_t;

struct rhashtable {
	atomic_t nelems;
};

/* IP fragments waiting for the remaining fragments of their packet. */
struct fqdir {
	struct rhashtable rhashtable;
	atomic_long_t mem;
	struct net *net;
};

struct timer_list {
	unsigned long expires;
};

struct inet_frag_queue {
	struct timer_list timer;
	struct fqdir *fqdir;
};

/* Per-CPU: each CPU has an array of timer bases. */
struct timer_base {
	struct timer_list *running_timer;
};

struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
};

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
};

/* Hash tables of all TCP sockets, by address and port. */
struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
	unsigned int lhash2_mask;
	struct inet_listen_hashbucket *lhash2;
	bool pernet; /* 6.1 */
};

struct inet_timewait_death_row {
	refcount_t tw_refcount;
	struct inet_hashinfo *hashinfo;
};

/* Range of ports from which the kernel assigns a port to sockets that are not bound to one. */
struct local_ports {
	__u32 range; /* since 6.8: last port in the upper half, first port in the lower half */
};

struct local_ports___before_6_8 {
	int range[2];
};

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
	struct fqdir *fqdir;
	struct ipv4_devconf *devconf_all;
	struct local_ports ip_local_ports;
	__u8 sysctl_ip_default_ttl;
};

struct netns_ipv4___before_6_8 {
	struct local_ports___before_6_8 ip_local_ports;
};

struct netns_ipv6 {
	struct fqdir *fqdir;
};

/* Per-CPU counts of sockets in use, in total and by protocol. */
struct prot_inuse {
	int all;
	int val[64];
};

struct netns_core {
	struct prot_inuse *prot_inuse;
};

struct ip_conntrack_stat {
	unsigned int found;
	unsigned int invalid;
	unsigned int insert;
	unsigned int insert_failed;
	unsigned int clash_resolve;
	unsigned int drop;
	unsigned int early_drop;
	unsigned int error;
	unsigned int search_restart;
	unsigned int chaintoolong;
};

/* An entry of connection tracking: the addresses of its packets in both directions, original and reply. */
union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all; /* port */
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num; /* address family */
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum; /* IPPROTO_* */
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct ip_ct_tcp {
	__u8 state;
};

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	union nf_conntrack_proto proto;
};

struct netns_ct {
	struct ip_conntrack_stat *stat; /* per-CPU */
};

struct ctl_table {
	const char *procname;
	void *data;
};

struct ctl_table_header {
	struct ctl_table *ctl_table;
};

struct nf_conntrack_net {
	atomic_t count;
	struct ctl_table_header *sysctl_header;
};

/* Per-namespace data of modules, indexed by the ID that each module was assigned on registration. */
struct net_generic {
	struct {
		unsigned int len;
	} s;
	void *ptr[1];
};

struct user_namespace {
	int level; /* 0 for the initial namespace */
};

struct net {
	struct list_head list;
	struct user_namespace *user_ns;
	struct ns_common ns;
	struct list_head dev_base_head;
	struct sock *rtnl;
	struct netns_core core;
	struct netns_mib mib;
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
	struct netns_ct ct;
	struct net_generic *gen;
	struct net_device *loopback_dev;
	__u64 net_cookie;
};

struct net___before_6_8 {
	struct netns_ipv4___before_6_8 ipv4;
};

struct css_set;

struct cgroup_namespace {
	struct css_set *root_cset;
};

struct nsproxy {
	struct net *net_ns;
	struct cgroup_namespace *cgroup_ns;
};

struct thread_info {
	__u64 preempt_count; /* arm64 */
};

struct rq;

struct cfs_rq {
	struct rq *rq;
};

struct sched_entity {
	struct cfs_rq *cfs_rq; /* with FAIR_GROUP_SCHED */
};

struct task_struct;

struct pid_namespace {
	struct ns_common ns;
	struct task_struct *child_reaper; /* init process of the namespace */
};

/* Process ID in one PID namespace. */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level; /* level of the innermost namespace */
	struct upid numbers[1]; /* one per level; 0 is the initial namespace */
};

struct kernfs_node {
	const char *name;
	__u64 id;
	struct kernfs_node *__parent; /* 6.15 */
};

struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
};

struct cgroup {
	struct kernfs_node *kn;
	int level; /* 0 for the root */
	struct cgroup *ancestors[1]; /* by level, ending with the cgroup itself (6.1) */
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

/* Cgroups of a process: one per controller, in any hierarchy, and one in the v2 hierarchy. */
struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	struct thread_info thread_info;
	struct sched_entity se;
	unsigned int flags;
	struct list_head tasks; /* list of all processes, linked by their main threads */
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	char comm[16];
	int softirq_disable_cnt; /* PREEMPT_RT */
	struct nsproxy *nsproxy; /* NULL when the task exits */
	struct css_set *cgroups;
};

struct workqueue_struct {
	char name[24];
};

struct pool_workqueue {
	struct workqueue_struct *wq;
};

struct work_struct {
	void *func;
};

struct bpf_array {
	void *pptrs[1];
};

typedef struct {
	struct net *net;
} possible_net_t;

struct Qdisc_ops {
	char id[16];
};

struct Qdisc {
	unsigned int flags;
	const struct Qdisc_ops *ops;
};

struct netdev_queue {
	struct Qdisc *qdisc;
};

struct rtnl_link_ops {
	const char *kind;
	void *get_link_net;
};

struct net_device_ops {
	void *ndo_get_stats64;
	void *ndo_get_stats;
};

/* Per-CPU drop counts that the core keeps for a device. Allocated when the core first drops a packet of the device. */
struct net_device_core_stats;

/* Type of a device's per-CPU counters. Set by drivers since 6.7, and in later 6.1 stable releases. */
enum netdev_stat_type {
	NETDEV_PCPU_STAT_NONE,
	NETDEV_PCPU_STAT_LSTATS,
	NETDEV_PCPU_STAT_TSTATS,
	NETDEV_PCPU_STAT_DSTATS,
};

/* Read as a whole because newer kernels replaced its members with unions. */
struct net_device_stats {
	unsigned long rx_packets;
};

struct net_device {
	char name[16];
	unsigned int flags;
	unsigned int mtu;
	unsigned short type; /* of the hardware; include/uapi/linux/if_arp.h */
	int ifindex;
	possible_net_t nd_net;
	struct list_head dev_list;
	struct Qdisc *qdisc; /* root qdisc */
	struct netdev_queue *ingress_queue;
	struct netdev_queue *_tx; /* transmit queues */
	unsigned int num_rx_queues;
	unsigned int num_tx_queues;
	const struct rtnl_link_ops *rtnl_link_ops;
	const struct net_device_ops *netdev_ops;
	struct net_device_stats stats;
	struct net_device_core_stats *core_stats; /* 5.18 */
	void *tstats; /* per-CPU counters, whose type varies */
	enum netdev_stat_type pcpu_stat_type;
};

struct proto {
	unsigned int inuse_idx;
	char name[32];
	struct list_head node;
};

/* The only part that TIME_WAIT and request sockets share with full sockets. */
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	unsigned int skc_hash;
	__u32 skc_portpair; /* remote port in network order, followed by the local port */
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct proto *skc_prot;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	struct hlist_nulls_node skc_nulls_node;
};

struct sk_buff_head {
	struct sk_buff *prev; /* last packet in the queue */
	__u32 qlen;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* cgroup in the v2 hierarchy */
};

struct rb_node {
	struct rb_node *rb_right;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct dst_entry;

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
	atomic_t sk_drops;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	unsigned long sk_lingertime;
	struct sk_buff_head sk_receive_queue;
	struct sk_buff_head sk_write_queue;
	struct rb_root tcp_rtx_queue; /* struct sk_buff by sequence number; the node is its first member */
	struct dst_entry *sk_dst_cache;
	__u8 sk_shutdown;
	__u16 sk_protocol;
	int sk_err;
};

struct socket {
	struct sock *sk;
};

struct ipv6_pinfo {
	int mcast_oif;
};

struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
	__be16 inet_sport;
	int mc_index; /* multicast interface; on an accepted TCP socket, the interface on which the SYN arrived */
};

struct request_sock_queue {
	__u8 rskq_defer_accept; /* number of SYN-ACK timeouts for which a listener waits for data (TCP_DEFER_ACCEPT) */
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
	__u8 icsk_ca_state : 5;
	__u8 icsk_pending;
	__u8 icsk_retransmits;
	__u32 icsk_pmtu_cookie; /* path MTU used to size segments */
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3]; /* the first is the current minimum or maximum */
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_sent; /* payload, including retransmissions */
	__u64 bytes_retrans;
	__u64 bytes_received; /* a FIN counts as one byte */
	__u32 segs_in, segs_out;
	__u32 rcv_ooopack;
	__u32 chrono_stat[3]; /* jiffies: busy, limited by the receiver's window, limited by the send buffer */
	struct minmax rtt_min; /* microseconds */
	__u32 rcv_tstamp; /* time of the last received ACK, in jiffies */
	__u32 retrans_stamp; /* time of the first SYN or retransmission, in ms; in µs if tcp_usec_ts is set */
	__u8 tcp_usec_ts : 1; /* 6.7 */
	__u32 srtt_us;
	__u32 snd_cwnd;
	__u32 total_retrans;
	__u32 dsack_dups;
	__u32 undo_marker;
	__u64 bytes_acked;
	__u8 syn_data : 1;
	__u8 syn_data_acked : 1;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_una;
};

struct udp_sock {
	struct sk_buff_head reader_queue;
};

struct request_sock {
	struct sock_common __req_common;
	__u8 num_retrans;
};

struct inet_request_sock {
	__u16 acked : 1;
};

struct tcp_request_sock {
	__u32 snt_isn;
};

struct tcp_skb_cb {
	__u32 seq;
	__u32 end_seq; /* includes SYN and FIN */
	__u8 tcp_flags;
};

struct dst_entry {
	struct net_device *dev;
};

struct inet_timewait_sock {
	volatile unsigned char tw_substate;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	char cb[48];
	unsigned long _skb_refdst;
	unsigned long _nfct; /* address of a struct nf_conn, with an enum ip_conntrack_info in the lowest three bits */
	unsigned char *data;
	unsigned int len;
	unsigned int data_len; /* bytes in page fragments and further buffers */
	__be16 protocol;
	__u8 pkt_type : 3;
	__u16 queue_mapping;
	__u16 transport_header;
	__u16 network_header;
	__u16 mac_header;
	unsigned char *head;
	unsigned int tail; /* offset from `head` to the end of the linear data, like `end` */
	unsigned int end; /* offset from `head` to the shared info; on 32-bit kernels its address */
};

/* Located at the end of a packet's buffer. */
struct skb_shared_info {
	unsigned short gso_size; /* bytes of data in each segment of a packet that is still to be segmented */
	unsigned short gso_segs;
	unsigned int gso_type;
};

/* Private data of a virtio_net device. */
struct virtnet_info {
	struct net_device *dev;
};

struct gendisk {
	char disk_name[32];
};

struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;
	unsigned int __data_len; /* bytes that are not completed yet */
};

/* Before 5.17 the disk was a member of the request. */
struct request___before_5_17 {
	struct gendisk *rq_disk;
};

#pragma clang attribute pop
