import { jiffiesPerSecond } from 'bpf-napi';
import * as z from 'zod';
import { defineProbe, type ProbeScope } from '#probe/contract.ts';
import type { FlowEdges } from '#probe/flow_edges.ts';
import { FLOW_RECORDS, flowRecord } from '#probe/flow_record.ts';
import { FAILURES, type FlowRow } from '#probe/flow_row.ts';
import { withSubject } from '#probe/host_pods.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { type Emit, NO_LABELS, NODE, type RowReader } from '#probe/metric.ts';
import { type RecordRules, UNOFFERED } from '#probe/records.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import { FLOW_ROWS, FLOW_ROWS_MAX, TCP_ENDS_HOOKS } from '#probe/tcp_ends_object.ts';
import type { EndReports, TcpEndsUser } from '#probe/tcp_ends_use.ts';
import { DEFAULT_PORT_RANGE, type PortRange, readPortRange } from '#sources/procfs/port_range.ts';
import { DEGRADED_EVENTS, degradedEvent, THRESHOLD_OPTION, thresholdsOf } from './degraded.ts';
import { edgeTotals, endedConnection } from './flow_api.ts';
import { COUNTS_OF, ENDS, FLOW_BOUND, FLOW_METRICS, SECONDS_OF } from './flow_metrics.ts';

// These metrics are per network namespace. A TCP socket stays in one namespace throughout its life and carries the
// namespace cookie.

const ROWS_MIN = 16;
const OTHER_PORT = '*';
const MICROSECONDS = 1e-6;

type FlowEmit = Emit<typeof FLOW_METRICS>;
type Put = Parameters<RowReader<typeof FLOW_METRICS, FlowRow>['samples']>[1];

function putCounts(row: FlowRow, put: Put, perSecond: number): void {
  for (const metric of Object.keys(COUNTS_OF) as (keyof typeof COUNTS_OF)[]) {
    put(metric, row.count(COUNTS_OF[metric]), NO_LABELS);
  }
  for (const metric of Object.keys(SECONDS_OF) as (keyof typeof SECONDS_OF)[]) {
    put(metric, row.count(SECONDS_OF[metric]) / perSecond, NO_LABELS);
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

/** Returns the labels of a row. A client's own ephemeral port has no meaning, so it is not shown as a label. */
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
  readonly #user: TcpEndsUser;

  constructor(user: TcpEndsUser, ephemeral: PortRange, subjectOf: (row: FlowRow) => FlowRow['place']['netns']) {
    this.#user = user;
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

  counted(row: FlowRow): void {
    this.#user.counted(row);
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

/** Returns a function that returns the subject of a row. In the node's namespace, this is the Pod of the cgroup. */
function subjects({ owners, hostPods }: Pick<ProbeScope<typeof DEGRADED_EVENTS>, 'owners' | 'hostPods'>) {
  return ({ place: { netns, cgroup } }: FlowRow) => hostPods.subjectOf(cgroup) ?? owners.homeOf(netns);
}

type Scope = ProbeScope<typeof DEGRADED_EVENTS>;
type IsShown = ((id: FlowRow['place']['netns']) => boolean) | undefined;

/** Maximum number of ends per second per owner that the kernel reports if the rules select among all ends. */
const ALL_ENDS_RATE = 10_000;

/**
 * Returns the reports that the probe needs to offer records; empty if the rules select none.
 * @param limit maximum number of reports per second per owner
 */
function recordReports(scope: Scope, rules: RecordRules | undefined, limit: number, isShown: IsShown): EndReports[] {
  const all = rules?.slow !== undefined || rules?.sample !== undefined;
  if (rules?.failed !== true && !all) return [];
  const perSecond = jiffiesPerSecond();
  const onEnd = (end: SocketEnd) =>
    withSubject(scope.hostPods, end, (subject) => {
      if (isShown?.(subject) !== false) scope.record(flowRecord(endedConnection(end, subject, perSecond)));
    });
  return [{ consumer: 'record', rate: all ? ALL_ENDS_RATE : limit, all, onEnd }];
}

/** Returns the edges lazily, because most collections are for a page, which does not use them. */
function edgesOf(
  rows: readonly FlowRow[],
  subjectOf: (row: FlowRow) => FlowRow['place']['netns'],
  perSecond: number,
): FlowEdges['edges'] {
  return {
    *[Symbol.iterator]() {
      for (const row of rows) {
        const edge = edgeTotals(row, subjectOf(row), perSecond);
        if (edge !== undefined) yield edge;
      }
    },
  };
}

/** Keeps the counts of this run while the probe is disabled. */
function keepLedgers(scope: Scope, user: TcpEndsUser): void {
  scope.own({
    [Symbol.dispose]: () => {
      scope.retained(EVENT_LEDGER).value = user.ledger('degraded');
      scope.retained(UNOFFERED).value = user.ledger('record');
    },
  });
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
  records: FLOW_RECORDS,
  options: {
    rows: z
      .int()
      .min(ROWS_MIN)
      .max(FLOW_ROWS_MAX)
      .default(FLOW_ROWS)
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
    kernel: 'BTF, ring buffers and atomic operations with a result (5.12); 6.1 for the counts of open connections.',
  },
  measured: { note: 'Measured together with `tcpconnect`.' },
  open: async (scope, { sockets }, { events, limit, options, podFilter, records }) => {
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
        reports: [
          ...(events
            ? [
                {
                  consumer: 'degraded' as const,
                  rate: limit,
                  thresholds: thresholdsOf(options.threshold),
                  onEnd: (end: SocketEnd) =>
                    withSubject(scope.hostPods, end, (netns) => {
                      if (isShown?.(netns) === false) return;
                      scope.publish('connection_degraded', degradedEvent({ ...end, netns }));
                    }),
                },
              ]
            : []),
          ...recordReports(scope, records, limit, isShown),
        ],
      }),
    );
    keepLedgers(scope, user);
    const subjectOf = subjects(scope);
    const perSecond = jiffiesPerSecond();
    let collected: FlowEdges | undefined;
    const ephemeral = readPortRange(scope.paths.proc) ?? DEFAULT_PORT_RANGE;
    const reader = Object.assign(new FlowReader(user, ephemeral, subjectOf), {
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
      unoffered: () => user.ledger('record'),
      edges: () => collected,
      isShown,
      collect: async (emit, cycle) => {
        const rows = [...(await user.rows(cycle))];
        await scope.hostPods.find(new Set(rows.map(({ place }) => place.cgroup)));
        const shown = isShown === undefined ? rows : rows.filter((row) => isShown(subjectOf(row)));
        await collectRows(emit, shown, user, reader);
        collected = { collectedAtMs: Date.now(), edges: edgesOf(shown, subjectOf, perSecond) };
      },
    };
  },
});

/**
 * Returns the reason why open connections are not counted, if any. They are read by a walk that old kernels cannot run.
 */
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
