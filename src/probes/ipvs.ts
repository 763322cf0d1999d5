import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import { NotYet } from '#core/reader.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, NO_LABELS } from '#probe/metric.ts';
import { type IpVsStats, parseIpVsStats } from '#sources/procfs/ip_vs_stats.ts';
import { readText } from '#sources/procfs/read.ts';
import type { Sources } from '#sources/sources.ts';

// These metrics are per network namespace. Services and their totals belong to struct netns_ipvs (kernel:
// net/netfilter/ipvs/ip_vs_ctl.c). The kernel updates the totals every two seconds rather than with each packet, and
// only if net.ipv4.vs.run_estimation is enabled.

const FILE = 'net/ip_vs_stats';

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

const metrics = defineMetrics({
  connections: {
    ...counter,
    name: 'netsonde_ipvs_connections_total',
    help: 'Connections that IPVS scheduled to a real server.',
    source: 'net/ip_vs_stats Conns',
    detail: 'core',
  },
  receivedPackets: {
    ...counter,
    name: 'netsonde_ipvs_received_packets_total',
    help: 'Packets from clients that IPVS accepted for its virtual services.',
    source: 'net/ip_vs_stats Incoming Packets',
    detail: 'full',
  },
  sentPackets: {
    ...counter,
    name: 'netsonde_ipvs_sent_packets_total',
    help: 'Packets from real servers that IPVS passed back. Stays 0 if servers respond to their clients directly.',
    source: 'net/ip_vs_stats Outgoing Packets',
    detail: 'full',
  },
  receivedBytes: {
    ...counter,
    name: 'netsonde_ipvs_received_bytes_total',
    unit: 'bytes',
    help: 'Bytes from clients that IPVS accepted for its virtual services, including IP headers.',
    source: 'net/ip_vs_stats Incoming Bytes',
    detail: 'full',
  },
  sentBytes: {
    ...counter,
    name: 'netsonde_ipvs_sent_bytes_total',
    unit: 'bytes',
    help: 'Bytes from real servers that IPVS passed back, including IP headers.',
    source: 'net/ip_vs_stats Outgoing Bytes',
    detail: 'full',
  },
});

const COLUMNS = Object.keys(metrics) as (keyof typeof metrics & keyof IpVsStats)[];

async function collectAll(emit: Emit<typeof metrics>, { netns, files }: Sources, cycle: Cycle): Promise<void> {
  for (const entry of netns.snapshot()) {
    const stats = files.parse(entry, FILE, cycle, parseIpVsStats);
    if (stats !== undefined) for (const column of COLUMNS) emit(column, entry.id, stats[column], NO_LABELS);
    await cycle.pause();
  }
}

export const ipvs = defineProbe({
  name: 'ipvs',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: false,
  summary:
    'Connections, packets and bytes that IPVS balances. Recommended on nodes where kube-proxy runs in IPVS mode.',
  guide: {
    question: 'How many connections, packets and bytes does IPVS balance?',
    when: 'Enable it on nodes where kube-proxy runs in IPVS mode.',
    query: 'sum by (node) (rate(netsonde_ipvs_connections_total[5m]))',
    limits: [
      'There are only totals per namespace, without a breakdown by service or server.',
      'The kernel updates the totals every two seconds, and only if `net.ipv4.vs.run_estimation` is enabled.',
      'A module that is loaded later is found within ten seconds.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_SYS_PTRACE'],
    kernel: 'IPVS (module ip_vs), which may be loaded later: /proc/<pid>/net/ip_vs_stats.',
    module: 'ip_vs',
  },
  measured: { note: 'Reads one small file per namespace; the cost was not measured separately.' },
  open: async (scope, sources) => {
    const path = join(scope.paths.proc, FILE);
    if (readText(path) === undefined) {
      const missing = `${path} is missing: the kernel has no IPVS, or its module ip_vs is not loaded`;
      throw new NotYet(missing, () => existsSync(path));
    }
    return {
      health: () => ({ reader: 'files', degraded: [] }),
      collect: (emit, cycle) => collectAll(emit, sources, cycle),
    };
  },
});
