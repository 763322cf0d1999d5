import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit } from '#probe/metric.ts';
import type { QdiscRow } from '#sources/netlink/qdisc.ts';
import { QueuesWalk } from '#sources/netlink/queues_walk.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { Sources } from '#sources/sources.ts';
import { WalkSource } from '#sources/walk_source.ts';

// These metrics are per network namespace. RTM_GETQDISC lists the devices of the namespace in which the socket was
// opened (kernel: net/sched/sch_api.c).

const LABELS = {
  device: { help: 'Network device.', example: 'eth0', max: 16 },
  kind: { help: 'Qdisc kind, as named by tc.', example: 'fq_codel', max: 16 },
} as const;

const counter = { type: 'counter', scope: 'pod', labels: LABELS } as const;
const gauge = { type: 'gauge', scope: 'pod', labels: LABELS } as const;

const metrics = defineMetrics({
  bytes: {
    ...counter,
    name: 'netsonde_qdisc_sent_bytes_total',
    unit: 'bytes',
    help: 'Bytes sent through the qdisc.',
    source: 'RTM_GETQDISC TCA_STATS_BASIC.bytes',
    detail: 'full',
  },
  packets: {
    ...counter,
    name: 'netsonde_qdisc_sent_packets_total',
    help: 'Packets sent through the qdisc.',
    source: 'RTM_GETQDISC TCA_STATS_BASIC.packets, TCA_STATS_PKT64',
    detail: 'full',
  },
  drops: {
    ...counter,
    name: 'netsonde_qdisc_drops_total',
    help: 'Packets that the qdisc dropped, usually because its queue was full.',
    source: 'RTM_GETQDISC TCA_STATS_QUEUE.drops',
    detail: 'core',
  },
  overlimits: {
    ...counter,
    name: 'netsonde_qdisc_overlimits_total',
    help: 'Times that the qdisc delayed a packet because of its rate limit.',
    source: 'RTM_GETQDISC TCA_STATS_QUEUE.overlimits',
    detail: 'full',
  },
  requeues: {
    ...counter,
    name: 'netsonde_qdisc_requeues_total',
    help: 'Packets put back into the queue because the device could not accept them.',
    source: 'RTM_GETQDISC TCA_STATS_QUEUE.requeues',
    detail: 'full',
  },
  queueLength: {
    ...gauge,
    name: 'netsonde_qdisc_queued_packets',
    help: 'Packets queued in the qdisc.',
    source: 'RTM_GETQDISC TCA_STATS_QUEUE.qlen',
    detail: 'full',
  },
  backlog: {
    ...gauge,
    name: 'netsonde_qdisc_backlog_bytes',
    unit: 'bytes',
    help: 'Bytes queued in the qdisc.',
    source: 'RTM_GETQDISC TCA_STATS_QUEUE.backlog',
    detail: 'full',
  },
});

type QdiscEmit = Emit<typeof metrics>;

function emitRow(emit: QdiscEmit, entry: NetnsEntry, device: string, row: QdiscRow): void {
  const labels = { device, kind: row.kind };
  const put = (metric: keyof typeof metrics, value: Counter) => emit(metric, entry.id, value, labels);
  put('bytes', row.bytes);
  put('packets', row.packets);
  put('drops', row.drops);
  put('overlimits', row.overlimits);
  put('requeues', row.requeues);
  put('queueLength', row.queueLength);
  put('backlog', row.backlogBytes);
}

/** Provides the namespaces that have a queue. If the set is undefined, all namespaces have to be queried. */
type Queues = WalkSource<ReadonlySet<NetnsId> | undefined>;

async function collectAll(
  emit: QdiscEmit,
  { netns, route }: Sources,
  queued: ReadonlySet<NetnsId> | undefined,
  cycle: Cycle,
): Promise<void> {
  for (const entry of netns.snapshot()) {
    // Most Pod namespaces have no queue, because a veth device has none.
    if (queued?.has(entry.id) === false) continue;
    const rows = route.qdiscs(entry, cycle);
    if (rows.length > 0) {
      const names = new Map(route.links(entry, cycle).map(({ ifindex, name }) => [ifindex, name]));
      for (const row of rows) {
        const device = names.get(row.ifindex);
        if (device !== undefined) emitRow(emit, entry, device, row);
      }
    }
    await cycle.pause();
  }
}

export const qdisc = defineProbe({
  name: 'qdisc',
  kind: 'netlink',
  cost: 'low',
  enabledByDefault: false,
  summary:
    'Queueing disciplines of each Pod and of the node: drops, backlog and overlimits. Recommended on nodes where tc shapes traffic.',
  guide: {
    question: 'Do the queues of the network devices drop or delay packets?',
    when: 'Look here if bandwidth is limited or shaped by tc.',
    query: 'sum by (node, namespace, pod, device, kind) (rate(netsonde_qdisc_drops_total[5m])) > 0',
    limits: [
      'Devices without a queue (`noqueue`), like most devices of Pods, have no series.',
      '`netiftxlatency` shows how long packets wait.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_SYS_ADMIN'],
    kernel:
      'Any, by RTM_GETQDISC. Since 5.17 and with BTF, only namespaces that have a queue are entered, otherwise all.',
  },
  measured: { collect: { ms: 0.38, withoutMs: 5.2 } },
  open: async (scope, sources) => {
    const node = sources.netns.node;
    if (node !== undefined) sources.netlink.check(node, freeCycle());
    const queues: Queues = new WalkSource({
      what: 'queues',
      warn: scope.warn,
      open: () => QueuesWalk.open(sources.bpf),
      otherwise: async () => undefined,
      otherwiseName: 'netlink',
    });
    scope.own(await queues.use());
    return {
      health: () => ({ ...queues.health, reader: queues.health.reader === 'pass' ? 'pass, netlink' : 'netlink' }),
      collect: async (emit, cycle) => collectAll(emit, sources, await queues.read(cycle), cycle),
    };
  },
});
