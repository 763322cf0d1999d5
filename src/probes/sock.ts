import { type Counter, notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { defineProbe, type ProbeContext } from '#probe/contract.ts';
import { defineMetrics, type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import { pageBytes } from '#sources/procfs/auxv.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseSockstat } from '#sources/procfs/sockstat.ts';
import type { FamilyCounts } from '#sources/sockstat/snapshot.ts';
import type { Sources } from '#sources/sources.ts';

// Some of these metrics are per network namespace: the kernel counts sockets in use, TIME-WAIT sockets and fragments
// separately for each namespace. Orphans, allocated sockets and memory are counted for the whole machine and shown in
// every namespace (kernel: net/ipv4/proc.c, sockstat_seq_show()), so they are node metrics.

const FAMILY = { help: 'IP version.', values: ['ipv4', 'ipv6'] } as const;

const gauge = { type: 'gauge', scope: 'pod', labels: {} } as const;
const byFamily = { type: 'gauge', scope: 'pod', labels: { family: FAMILY } } as const;
const ofNode = { type: 'gauge', scope: 'node', labels: {}, detail: 'core' } as const;

const metrics = defineMetrics({
  used: {
    ...gauge,
    name: 'netsonde_sockets_used',
    help: 'Sockets in use, of all protocols.',
    source: 'net/sockstat sockets.used',
    detail: 'core',
  },
  tcpInUse: {
    ...byFamily,
    name: 'netsonde_tcp_sockets_in_use',
    help: 'TCP sockets in use, excluding TIME-WAIT.',
    source: 'net/sockstat TCP.inuse, net/sockstat6 TCP6.inuse',
    detail: 'full',
  },
  timeWait: {
    ...gauge,
    name: 'netsonde_tcp_time_wait_sockets',
    help: 'TCP sockets in state TIME-WAIT.',
    source: 'net/sockstat TCP.tw',
    detail: 'full',
  },
  udpInUse: {
    ...byFamily,
    name: 'netsonde_udp_sockets_in_use',
    help: 'UDP sockets in use.',
    source: 'net/sockstat UDP.inuse, net/sockstat6 UDP6.inuse',
    detail: 'full',
  },
  rawInUse: {
    ...byFamily,
    name: 'netsonde_raw_sockets_in_use',
    help: 'Raw IP sockets in use.',
    source: 'net/sockstat RAW.inuse, net/sockstat6 RAW6.inuse',
    detail: 'full',
  },
  fragmentQueues: {
    ...byFamily,
    name: 'netsonde_ip_fragment_queues',
    help: 'Packets that wait for missing fragments.',
    source: 'net/sockstat FRAG.inuse, net/sockstat6 FRAG6.inuse',
    detail: 'full',
  },
  fragmentBytes: {
    ...byFamily,
    name: 'netsonde_ip_fragment_bytes',
    unit: 'bytes',
    help: 'Memory used by packets that wait for missing fragments.',
    source: 'net/sockstat FRAG.memory, net/sockstat6 FRAG6.memory',
    detail: 'full',
  },
  orphans: {
    ...ofNode,
    name: 'netsonde_node_tcp_orphan_sockets',
    help: 'TCP sockets of the machine that no longer belong to a process.',
    source: 'net/sockstat TCP.orphan',
  },
  allocated: {
    ...ofNode,
    name: 'netsonde_node_tcp_allocated_sockets',
    help: 'TCP sockets that the machine has allocated, in any state.',
    source: 'net/sockstat TCP.alloc',
  },
  tcpMemory: {
    ...ofNode,
    name: 'netsonde_node_tcp_memory_bytes',
    unit: 'bytes',
    help: 'Memory used by the buffers of all TCP sockets of the machine.',
    source: 'net/sockstat TCP.mem, pages',
  },
  udpMemory: {
    ...ofNode,
    name: 'netsonde_node_udp_memory_bytes',
    unit: 'bytes',
    help: 'Memory used by the buffers of all UDP sockets of the machine.',
    source: 'net/sockstat UDP.mem, pages',
  },
});

type SockEmit = Emit<typeof metrics>;
type FamilyMetric = 'tcpInUse' | 'udpInUse' | 'rawInUse' | 'fragmentQueues' | 'fragmentBytes';

const FAMILY_COUNTS: Readonly<Record<FamilyMetric, keyof FamilyCounts>> = {
  tcpInUse: 'tcp',
  udpInUse: 'udp',
  rawInUse: 'raw',
  fragmentQueues: 'fragmentQueues',
  fragmentBytes: 'fragmentBytes',
};
const FAMILIES = FAMILY.values.map((family) => ({ family }));

async function collectPods(emit: SockEmit, { sockstat }: Sources, cycle: Cycle): Promise<void> {
  const rows = await sockstat.read(cycle);
  const ids = rows.map(({ id }) => id);
  emit.column('used', ids, NO_LABELS, (row) => rows[row]?.used);
  emit.column('timeWait', ids, NO_LABELS, (row) => rows[row]?.timeWait);
  for (const [metric, count] of Object.entries(FAMILY_COUNTS) as [FamilyMetric, keyof FamilyCounts][]) {
    if (!emit.wants(metric)) continue;
    for (const labels of FAMILIES) emit.column(metric, ids, labels, (row) => rows[row]?.[labels.family][count]);
    if (cycle.isDue) await cycle.pause();
  }
}

function collectNode(emit: SockEmit, { paths, errors }: ProbeContext, page: number): void {
  const text = readText(`${paths.proc}/net/sockstat`) ?? '';
  const stat = parseSockstat(text, errors.malformed('procfs', 'net/sockstat'));
  const put = (
    metric: 'orphans' | 'allocated' | 'tcpMemory' | 'udpMemory',
    line: string,
    name: string,
    unit: number,
  ) => {
    const value: Counter | undefined = stat.get(line)?.get(name);
    if (value !== undefined) emit(metric, NODE, Number(notNegative(value)) * unit, NO_LABELS);
  };
  put('orphans', 'TCP', 'orphan', 1);
  put('allocated', 'TCP', 'alloc', 1);
  put('tcpMemory', 'TCP', 'mem', page);
  put('udpMemory', 'UDP', 'mem', page);
}

export const sock = defineProbe({
  name: 'sock',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Sockets of each Pod, and the memory used by all sockets of the machine. Recommended everywhere; shows leaks.',
  guide: {
    question: 'How many sockets does a Pod hold, and how much memory do all sockets of the node use?',
    when: 'Look here when the number of sockets of a Pod keeps growing, or when TCP runs short of memory on a node.',
    query: 'topk(10, netsonde_sockets_used)',
    limits: [
      'Memory, orphans and allocated TCP sockets are shown for the node because the kernel does not count them by namespace.',
      '`netsonde_sockets_used` counts all kinds of sockets, including netlink and Unix sockets. Numbers by protocol need `detail: full`.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. Since 6.1 and with BTF, one walk in the kernel counts the sockets of all namespaces; otherwise by /proc/<pid>/net/sockstat and sockstat6.',
  },
  measured: { collect: { ms: 0.35, withoutMs: 4.7 } },
  open: async (scope, sources) => {
    const page = pageBytes(scope.paths.proc);
    scope.own(await sources.sockstat.use());
    return {
      health: () => sources.sockstat.health,
      collect: async (emit, cycle) => {
        collectNode(emit, scope, page);
        await collectPods(emit, sources, cycle);
      },
    };
  },
});
