/**
 * Costs of each probe, as `npm run bench` measured them: the source of the tables in bench/README.md and of the costs in docs/probes.md.
 * Figures that were not measured are not here.
 */

interface Collected {
  readonly probes: readonly string[];
  /** Milliseconds per scrape, with 110 Pods. */
  readonly ms: number;
  /** Milliseconds without the walks in the kernel. */
  readonly withoutMs?: number;
  readonly note?: string;
}

/** `npm run bench -- pods`: wall-clock time. */
export const COLLECTED: readonly Collected[] = [
  { probes: ['tcp'], ms: 0.71, withoutMs: 23.0, note: 'the first reader pays for the SNMP tables of all' },
  { probes: ['tcpext', 'udp', 'ip', 'icmp'], ms: 0.4, withoutMs: 1.4 },
  { probes: ['sock'], ms: 0.35, withoutMs: 4.7 },
  {
    probes: ['netdev'],
    ms: 0.4,
    withoutMs: 2.4,
    note: 'the first figure is derived from the ratio of `bench -- netdev`',
  },
  { probes: ['softnet'], ms: 0.06, withoutMs: 0.08 },
  { probes: ['tcpsummary'], ms: 2.6, withoutMs: 57.8 },
  { probes: ['conntrack'], ms: 0.31, withoutMs: 9.9 },
  { probes: ['qdisc'], ms: 0.38, withoutMs: 5.2 },
  { probes: ['packetloss'], ms: 0.05 },
];

interface OfProcesses {
  readonly probe: string;
  readonly what: string;
  /** Milliseconds of CPU that it adds to a scrape. */
  readonly ms: number;
}

/** `npm run bench -- processes`: 110 Pods of 20 processes of 50 descriptors, half of them sockets. */
export const OF_PROCESSES: readonly OfProcesses[] = [
  { probe: 'io', what: '`io`', ms: 67 },
  { probe: 'fd', what: '`fd` with `sockets: false`', ms: 53 },
  { probe: 'fd', what: '`fd`', ms: 554 },
];

interface Program {
  readonly probe: string;
  /** Hooks, and nanoseconds per hit above an empty program; a range where it depends on the packet. */
  readonly hits: readonly (readonly [hook: string, ns: string])[];
  readonly note?: string;
}

/** `npm run bench:kernel`: with events on at their default limit. */
export const PROGRAMS: readonly Program[] = [
  { probe: 'packetloss', hits: [['tp_btf/kfree_skb', '95']] },
  {
    probe: 'tcpretrans',
    hits: [
      ['tp_btf/tcp_retransmit_skb', '97'],
      ['tp_btf/tcp_retransmit_synack', '86'],
    ],
  },
  {
    probe: 'tcpreset',
    hits: [
      ['raw_tp/tcp_send_reset', '97'],
      ['tp_btf/tcp_receive_reset', '87'],
    ],
  },
];

/** Programs of discovery, which run whether or not probes do. */
export const PROGRAMS_ALWAYS: Program = {
  probe: 'discovery',
  hits: [
    ['tp_btf/sched_process_exec', '153'],
    ['tp_btf/workqueue_queue_work', '59'],
    ['tp_btf/workqueue_execute_start', '1'],
  ],
};

/** Programs of probes that are off by default, each probe on its own. */
export const PROGRAMS_OFF: readonly Program[] = [
  {
    probe: 'softirq',
    hits: [
      ['softirq_raise', '44'],
      ['softirq_entry', '48'],
      ['softirq_exit', '51'],
    ],
  },
  {
    probe: 'netiftxlatency',
    hits: [
      ['net_dev_queue', '53'],
      ['net_dev_start_xmit', '74'],
      ['net_dev_xmit', '101'],
      ['kfree_skb', '10'],
    ],
  },
  {
    probe: 'socketlatency',
    hits: [
      ['sk_data_ready', '73'],
      ['sock_recv_length', '186'],
      ['tcp_sendmsg_locked', '211'],
      ['net_dev_queue', '37'],
    ],
  },
  {
    probe: 'biolatency',
    hits: [
      ['block_io_start', '480'],
      ['block_rq_issue', '107'],
      ['block_rq_complete', '642'],
    ],
  },
  {
    probe: 'kernellatency',
    note: 'by tracepoints',
    hits: [
      ['netif_receive_skb', '64'],
      ['sk_data_ready', '174-234'],
      ['net_dev_queue', '134-149'],
      ['net_dev_xmit', '119-127'],
      ['kfree_skb', '32'],
    ],
  },
];

/** Costs that fit no table. */
export const NOTES: Readonly<Record<string, string>> = {
  lifecycle:
    "Attaches nothing of its own: it uses the records of discovery's programs, which run all the time; nearly all their hits are on the node itself. In a namespace without an owner, or younger than a minute, an executed program is looked up in the cgroups, which takes 5 µs.",
  ipvs: 'Opens one small file for each namespace; its cost was not measured separately.',
  rdma: "Opens a file for each counter of a port: 0.37 ms for a port with 50 of them in the test's files; hardware adds the time of its firmware.",
  changes:
    'Sleeps until the kernel sends a notification, and then takes 12 to 16 µs of CPU for each. A scrape reads the neighbour tables, 0.16 ms; measured on a busy machine.',
  virtcmdlatency: 'Not measured: it runs for control commands only, which are rare.',
};
