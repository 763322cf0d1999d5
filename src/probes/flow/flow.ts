import { jiffiesPerSecond } from 'bpf-napi';
import * as z from 'zod';
import { defineProbe, type ProbeScope } from '#probe/contract.ts';
import { FAILURES, type FlowField, type FlowRow } from '#probe/flow_row.ts';
import { type Emit, NO_LABELS, NODE, type RowReader } from '#probe/metric.ts';
import { TCP_ENDS_HOOKS } from '#probe/tcp_ends_object.ts';
import type { TcpEndsUser } from '#probe/tcp_ends_use.ts';
import { DEFAULT_PORT_RANGE, type PortRange, readPortRange } from '#sources/procfs/port_range.ts';
import { DEGRADED_EVENTS, degradedEvent, THRESHOLD_OPTION, thresholdsOf } from './degraded.ts';
import { COUNTS_OF, ENDS, FLOW_BOUND, FLOW_METRICS, SECONDS_OF } from './flow_metrics.ts';

// Namespaced: yes. A TCP socket stays in one namespace all its life, and carries its cookie.

const ROWS = 16_384;
const ROWS_MIN = 16;
const ROWS_MAX = 131_072;
const OTHER_PORT = '*';
const MICROSECONDS = 1e-6;

type FlowEmit = Emit<typeof FLOW_METRICS>;
type Put = Parameters<RowReader<typeof FLOW_METRICS, FlowRow>['samples']>[1];

/** Counts of a row that are seconds. */
function secondsOf(row: FlowRow, field: FlowField, perSecond: number): number {
  return row.count(field) / perSecond;
}

function putCounts(row: FlowRow, put: Put, perSecond: number): void {
  for (const metric of Object.keys(COUNTS_OF) as (keyof typeof COUNTS_OF)[]) {
    put(metric, row.count(COUNTS_OF[metric]), NO_LABELS);
  }
  for (const metric of Object.keys(SECONDS_OF) as (keyof typeof SECONDS_OF)[]) {
    put(metric, secondsOf(row, SECONDS_OF[metric], perSecond), NO_LABELS);
  }
}

function putEnds(row: FlowRow, put: Put): void {
  for (const end of Object.keys(FAILURES) as (keyof typeof FAILURES)[]) {
    const count = row.ended(end);
    if (count > 0) put('failed', count, { cause: FAILURES[end] });
  }
  for (const end of ENDS) {
    const count = row.ended(end);
    if (count > 0) put('closed', count, { end });
  }
}

function putRoundTrips(row: FlowRow, put: Put): void {
  const counts = row.roundTrips;
  if (counts.some((count) => count > 0)) put('roundTrip', { counts, sum: row.roundTripSum * MICROSECONDS }, NO_LABELS);
}

/** Returns the labels of a row. A client's own ephemeral port says nothing, so it is no label. */
function labelsOf({ place: { role, peer, port } }: FlowRow, { first, last }: PortRange): Record<string, string> {
  const isPassing = port === undefined || (role === 'client' && port >= first && port <= last);
  return { role, peer, port: isPassing ? OTHER_PORT : String(port) };
}

/** Reads rows for the collector. */
class FlowReader implements RowReader<typeof FLOW_METRICS, FlowRow> {
  readonly #ephemeral: PortRange;
  readonly #perSecond = jiffiesPerSecond();
  readonly #labels = new WeakMap<FlowRow, Record<string, string>>();
  readonly #subjectOf: (row: FlowRow) => FlowRow['place']['netns'];

  constructor(ephemeral: PortRange, subjectOf: (row: FlowRow) => FlowRow['place']['netns']) {
    this.#ephemeral = ephemeral;
    this.#subjectOf = subjectOf;
  }

  subject(row: FlowRow) {
    return this.#subjectOf(row);
  }

  key(row: FlowRow): number {
    return row.serial;
  }

  labels(row: FlowRow): Record<string, string> {
    let labels = this.#labels.get(row);
    if (labels === undefined) {
      labels = labelsOf(row, this.#ephemeral);
      this.#labels.set(row, labels);
    }
    return labels;
  }

  samples(row: FlowRow, put: Put): void {
    putCounts(row, put, this.#perSecond);
    put('open', row.open, NO_LABELS);
    putEnds(row, put);
    putRoundTrips(row, put);
  }

  isLast(row: FlowRow): boolean {
    return row.isLast;
  }
}

async function collectRows(
  emit: FlowEmit,
  rows: Iterable<FlowRow>,
  user: TcpEndsUser,
  reader: FlowReader,
): Promise<void> {
  emit.rows(FLOW_BOUND, rows, reader);
  emit('rows', NODE, user.size, NO_LABELS);
  emit('evictedRows', NODE, user.evicted, NO_LABELS);
}

/** Returns the subject of a row: in the node's namespace, the Pod of the control group. */
function subjects({ owners, hostPods }: Pick<ProbeScope<typeof DEGRADED_EVENTS>, 'owners' | 'hostPods'>) {
  return ({ place: { netns, cgroup } }: FlowRow) => hostPods.subjectOf(cgroup) ?? owners.homeOf(netns);
}

export const flow = defineProbe({
  name: 'flow',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: false,
  summary:
    'TCP traffic of each Pod by peer and port: bytes, connections, failures and retransmissions, exact, with no program on the path of packets.',
  guide: {
    question: 'With whom does a Pod talk, how much, and how well?',
    when: 'Switch it on to see which peer is slow, refuses connections, or causes the traffic.',
    query: 'topk(10, sum by (namespace, pod, role, peer, port) (rate(netsonde_flow_sent_bytes_total[5m])))',
    limits: [
      'Counts are those of TCP sockets: UDP and raw sockets have none.',
      'A Pod shows the 16 edges that grow most (64 with `detail: full`), and the sum of all others under `*`.',
      'Traffic of connections that were open before the probe was switched on counts from then on.',
      'A connection that ends during a scrape may be missing from that scrape, and is in the next one.',
      'Connections to a Service have the address of the Service at the client, unless the network plugin replaces it when the socket connects.',
    ],
  },
  metrics: FLOW_METRICS,
  events: DEGRADED_EVENTS,
  options: {
    rows: z
      .int()
      .min(ROWS_MIN)
      .max(ROWS_MAX)
      .default(ROWS)
      .describe('Rows in the kernel, of which each Pod has an equal share. A row takes 360 bytes while it exists.'),
    edges: z.int().min(1).max(1_000).optional().describe('Edges that one Pod shows, in place of 16 or 64.'),
    ports: z
      .int()
      .min(1)
      .max(1_000)
      .optional()
      .describe('Ports that are shown for each role and peer, in place of 16.'),
    threshold: THRESHOLD_OPTION,
  },
  hooks: TCP_ENDS_HOOKS,
  maps: {
    connect_times: 'rows',
    tcp_ends_wanted: 'told',
    end_ledgers: 'fixed',
    slow_connects: 'later',
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8); 6.1 for the counts of open connections.',
  },
  measured: { note: 'Not measured yet.' },
  open: async (scope, { sockets }, { events, limit, options, podFilter }) => {
    scope.own(await sockets.use());
    const followed =
      podFilter && scope.own(scope.filters.follow(podFilter, { add: () => undefined, remove: () => undefined }));
    const isShown = followed && ((id: FlowRow['place']['netns']) => followed.isIncluded(id));
    const user = scope.own(
      await scope.tcpEnds.use({
        probe: 'flow',
        roles: ['client', 'server'],
        rows: options.rows,
        roundTrips: true,
        reports: events
          ? [
              {
                consumer: 'degraded',
                rate: limit,
                thresholds: thresholdsOf(options.threshold),
                onEnd: (end) => {
                  if (isShown?.(end.netns) !== false) scope.publish('connection_degraded', degradedEvent(end));
                },
              },
            ]
          : [],
      }),
    );
    const ephemeral = readPortRange(scope.paths.proc) ?? DEFAULT_PORT_RANGE;
    const reader = Object.assign(new FlowReader(ephemeral, subjects(scope)), {
      max: options.edges,
      labelMax: options.ports,
    });
    return {
      ...user.report,
      health: () => ({
        reader: user.hook,
        degraded: [...user.degraded, ...scope.hostPods.degraded, ...openDegraded(sockets.health)],
      }),
      ledger: () => user.ledger('degraded'),
      isShown,
      collect: async (emit, cycle) => {
        const rows = [...(await user.rows(cycle))];
        await scope.hostPods.find(new Set(rows.map(({ place }) => place.cgroup)));
        const shown = isShown === undefined ? rows : rows.filter(({ place }) => isShown(place.netns));
        await collectRows(emit, shown, user, reader);
      },
    };
  },
});

/** Open connections are read by a walk, which old kernels cannot run. */
function openDegraded({
  reader,
  note,
  degraded,
}: {
  reader: string;
  note?: string | undefined;
  degraded: readonly string[];
}): string[] {
  return reader === 'pass'
    ? []
    : [`open connections are counted when they end: ${[note, ...degraded].filter(Boolean).join('; ')}`];
}
