import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, NODE } from '#probe/metric.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseSoftnetStat } from '#sources/procfs/softnet_stat.ts';

// These metrics are not per network namespace. In every namespace, net/softnet_stat shows the CPUs of the machine
// (kernel: net/core/net-procfs.c), so all values are node metrics.

const CPU = { help: 'CPU number.', example: '0', max: 1024 } as const;

const counter = { type: 'counter', scope: 'node', labels: { cpu: CPU } } as const;

const metrics = defineMetrics({
  processed: {
    ...counter,
    name: 'netsonde_softnet_processed_packets_total',
    help: 'Packets that the CPU processed from its network queues.',
    source: 'net/softnet_stat column 1',
    detail: 'core',
  },
  dropped: {
    ...counter,
    name: 'netsonde_softnet_dropped_packets_total',
    help: 'Packets dropped because the backlog queue of the CPU was full (net.core.netdev_max_backlog).',
    source: 'net/softnet_stat column 2',
    detail: 'core',
  },
  timeSqueezed: {
    ...counter,
    name: 'netsonde_softnet_time_squeezed_total',
    help: 'Times that the CPU stopped processing packets because its budget was used up (net.core.netdev_budget).',
    source: 'net/softnet_stat column 3',
    detail: 'core',
  },
  receivedRps: {
    ...counter,
    name: 'netsonde_softnet_received_rps_total',
    help: 'Times that another CPU woke this one to process packets (RPS).',
    source: 'net/softnet_stat column 10',
    detail: 'core',
  },
  flowLimitReached: {
    ...counter,
    name: 'netsonde_softnet_flow_limit_reached_total',
    help: 'Packets dropped because one flow filled the backlog queue of the CPU.',
    source: 'net/softnet_stat column 11',
    detail: 'core',
  },
  backlog: {
    type: 'gauge',
    scope: 'node',
    labels: { cpu: CPU },
    name: 'netsonde_softnet_backlog_packets',
    help: 'Packets queued in the backlog queue of the CPU.',
    source: 'net/softnet_stat column 12',
    detail: 'core',
  },
});

export const softnet = defineProbe({
  name: 'softnet',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Processing of received packets by each CPU of the node. Recommended everywhere because drops here affect every Pod.',
  guide: {
    question: 'Do the CPUs of the node keep up with the packets that arrive?',
    when: 'Look here when all Pods of a node have packet loss or delays.',
    query: 'sum by (node, cpu) (rate(netsonde_softnet_dropped_packets_total[5m])) > 0',
    limits: ['All values are for the node because each CPU handles packets of all Pods.'],
  },
  metrics,
  events: {},
  options: {},
  requires: { capabilities: [], kernel: 'Any: /proc/net/softnet_stat.' },
  measured: { collect: { ms: 0.06, withoutMs: 0.08 } },
  open: async ({ paths, errors }, { cpus }) => ({
    health: () => ({ reader: 'files', degraded: [] }),
    collect: async (emit) => {
      const path = `${paths.proc}/net/softnet_stat`;
      const text = readText(path);
      if (text === undefined) throw new Error(`${path} is missing`);
      for (const row of parseSoftnetStat(text, cpus.online(), errors.malformed('procfs', 'net/softnet_stat'))) {
        const labels = { cpu: String(row.cpu) };
        emit('processed', NODE, row.processed, labels);
        emit('dropped', NODE, row.dropped, labels);
        emit('timeSqueezed', NODE, row.timeSqueezed, labels);
        if (row.receivedRps !== undefined) emit('receivedRps', NODE, row.receivedRps, labels);
        if (row.flowLimitReached !== undefined) emit('flowLimitReached', NODE, row.flowLimitReached, labels);
        if (row.backlogLength !== undefined) emit('backlog', NODE, row.backlogLength, labels);
      }
    },
  }),
});
