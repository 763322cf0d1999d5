import { jiffiesPerSecond } from 'bpf-napi';
import * as z from 'zod';
import { defineProbe, type OptionsOf, type ProbeScope, type ProbeSettings } from '#probe/contract.ts';
import { type EdgeNaming, IDENTITIES } from '#probe/edge_labels.ts';
import { isForgotten } from '#probe/fate.ts';
import { FLOW_RECORDS, flowRecord } from '#probe/flow_record.ts';
import type { FlowRow } from '#probe/flow_row.ts';
import { withSubject } from '#probe/host_pods.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import type { Unresolved } from '#probe/peers.ts';
import { UNOFFERED } from '#probe/records.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import { FLOW_ROWS, FLOW_ROWS_MAX, TCP_ENDS_HOOKS } from '#probe/tcp_ends_object.ts';
import type { EndReports, TcpEndsUser } from '#probe/tcp_ends_use.ts';
import { TRANSLATION_STATES, type TranslationState } from '#probe/translation.ts';
import { DEFAULT_PORT_RANGE, readPortRange } from '#sources/procfs/port_range.ts';
import { DEGRADED_EVENTS, degradedEvent, THRESHOLD_OPTION, thresholdsOf } from './degraded.ts';
import { endedConnection } from './flow_api.ts';
import { CollectedEdges } from './flow_edges.ts';
import { FLOW_BOUND, FLOW_METRICS } from './flow_metrics.ts';
import { FlowReader } from './flow_reader.ts';
import { FlowSubjects, subjectOf } from './flow_subjects.ts';
import { HiddenRows } from './hidden_rows.ts';

// These metrics are per network namespace. A TCP socket remains in one namespace throughout its life, and carries the
// cookie of the namespace.

const ROWS_MIN = 16;
type FlowEmit = Emit<typeof FLOW_METRICS>;

/** Emits the rows. If connections to own addresses are hidden, their rows are omitted. */
function emitRows(emit: FlowEmit, rows: readonly FlowRow[], user: TcpEndsUser, reader: FlowReader, hidden: HiddenRows) {
  emit.rows(FLOW_BOUND, hidden.remove(rows), reader);
  emit('hiddenBytes', NODE, hidden.sentBytes, NO_LABELS);
  emit('rows', NODE, user.size, NO_LABELS);
  emit('evictedRows', NODE, user.evicted, NO_LABELS);
}

type Scope = ProbeScope<typeof DEGRADED_EVENTS>;
type IsShown = ((id: FlowRow['place']['netns']) => boolean) | undefined;

/** Maximum number of ends per second for one owner that the kernel reports if the rules select from all ends. */
const ALL_ENDS_RATE = 10_000;

const OPTIONS = {
  rows: z
    .int()
    .min(ROWS_MIN)
    .max(FLOW_ROWS_MAX)
    .default(FLOW_ROWS)
    .describe('Number of rows in the kernel, divided equally among Pods. A row takes 370 bytes while it exists.'),
  edges: z.int().min(1).max(1_000).optional().describe('Number of edges shown for each Pod, instead of 16 or 64.'),
  ports: z.int().min(1).max(1_000).optional().describe('Number of ports shown for each role and peer, instead of 16.'),
  identity: z
    .enum(IDENTITIES)
    .default('workload')
    .describe('How labels name a peer: by Service or workload, by Pod instead, or only by address.'),
  zones: z.boolean().default(false).describe('Adds the label `peer_zone`. Traffic between zones may cost money.'),
  loopback: z.boolean().default(false).describe('Also show connections of a Pod or the node to its own addresses.'),
  threshold: THRESHOLD_OPTION,
};

type Settings = ProbeSettings<OptionsOf<typeof OPTIONS>>;

/** Returns the reports that the probe needs to send events; none if they are disabled. */
function degradedReports(scope: Scope, { events, limit, options }: Settings, isShown: IsShown): EndReports[] {
  if (!events) return [];
  const onEnd = (end: SocketEnd) =>
    withSubject(scope.hostPods, end, (netns) => {
      if (isShown?.(netns) !== false) scope.publish('connection_degraded', degradedEvent({ ...end, netns }));
    });
  return [{ consumer: 'degraded', rate: limit, thresholds: thresholdsOf(options.threshold), onEnd }];
}

/** Returns the reports that the probe needs to produce records; none if the rules select no records. */
function recordReports(scope: Scope, { records: rules, limit }: Settings, isShown: IsShown): EndReports[] {
  const all = rules?.slow !== undefined || rules?.sample !== undefined;
  if (rules?.failed !== true && !all) return [];
  const onEnd = (end: SocketEnd) =>
    withSubject(scope.hostPods, end, (subject) => {
      if (isShown?.(subject) !== false) scope.record(flowRecord(endedConnection(end, subject, jiffiesPerSecond())));
    });
  return [{ consumer: 'record', rate: all ? ALL_ENDS_RATE : limit, all, onEnd }];
}

/** Keeps the counts of this run after the probe is disabled. */
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
  enabledByDefault: true,
  summary:
    'TCP traffic of each Pod by peer and port: exact numbers of bytes, connections, failures and retransmissions, without running a program for each packet.',
  guide: {
    question: 'Which peers does a Pod communicate with, how much, and how well?',
    when: 'Look here when an application is slow or fails, to see which of its peers is slow, refuses connections, or causes the traffic.',
    query:
      'topk(10, sum by (namespace, pod, role, peer_kind, peer_namespace, peer, port) (rate(netsonde_flow_sent_bytes_total[5m])))',
    limits: [
      'Only TCP sockets are counted, not UDP or raw sockets.',
      'Connections of a Pod to itself are not shown unless `loopback` is set; `netsonde_flow_hidden_bytes_total` counts their bytes.',
      'If an address gets another owner between two scrapes, the traffic in between is shown with an unknown peer.',
      'Each Pod shows the 16 edges with the fastest growth (64 with `detail: full`), and the sum of all others as `*`.',
      'Traffic of connections that were already open when the probe was enabled is counted from then on.',
      'If the node translates the address of a peer (NAT), the real peer is shown only with NET_ADMIN, from the third scrape on, and only while all connections of an edge lead to the same peer ([peers behind NAT](identity.md#peers-behind-nat)).',
      'Namespaces that have no name and belong to no Pod or container are shown together as the Pod `unlisted`, ten seconds after they were found.',
      'In the network namespace of the node, a row is deleted when its Pod is no longer exported, or after ten minutes in which it counted nothing. Its counts are exported for as long as its Pod or the node is.',
      'A connection that ends during a scrape may be missing from that scrape, but the next scrape includes it.',
      'If rules in a Pod redirect a connection to a proxy in the same Pod, it is counted twice: for the application, with the original destination address, and for the proxy, which connects to that address ([the map](page.md#map) shows both as one edge).',
      'For a client that connects to a Service, the peer is the Service. If the network plugin replaces the address of the Service when the socket connects, the peer is the Pod.',
      'Data that a sockmap program passes to the other end of a connection on the same node bypasses TCP and is not counted. The connection itself is counted.',
    ],
  },
  metrics: FLOW_METRICS,
  events: DEGRADED_EVENTS,
  records: FLOW_RECORDS,
  options: OPTIONS,
  inPlace: ['events', 'limit', 'records', 'rows', 'edges', 'ports', 'zones', 'threshold'],
  hooks: TCP_ENDS_HOOKS,
  maps: {
    connect_times: 'rows',
    tcp_ends_wanted: 'told',
    end_ledgers: 'fixed',
    end_buckets: 'fixed',
    slow_connects: 'later',
    connection_starts: 'device',
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF, ring buffers and atomic operations that return a value (5.12). Counting open connections requires 6.1.',
  },
  measured: {
    collect: {
      ms: 6.1,
      note: 'with 2,105 rows in the kernel; 1.1 ms without any; the walk over the sockets belongs to `tcpsummary`',
    },
    note: 'The programs were measured together with `tcpconnect`.',
  },
  open: async (scope, { sockets }, settings) => {
    const { options, podFilter } = settings;
    scope.own(await sockets.use());
    const followed =
      podFilter && scope.own(scope.filters.follow(podFilter, { add: () => undefined, remove: () => undefined }));
    const isShown = followed && ((id: FlowRow['place']['netns']) => followed.isIncluded(id));
    const identities = scope.own(scope.peers.follow({ pods: options.identity === 'pod', subjectOf }));
    const usedBy = (now: Settings) => ({
      rows: now.options.rows,
      reports: [...degradedReports(scope, now, isShown), ...recordReports(scope, now, isShown)],
    });
    const user = scope.own(
      await scope.tcpEnds.use({
        identities,
        probe: 'flow',
        roles: ['client', 'server'],
        translates: true,
        roundTrips: true,
        ...usedBy(settings),
      }),
    );
    keepLedgers(scope, user);
    const subjects = new FlowSubjects(scope.owners, scope.hostPods, user);
    const ephemeral = readPortRange(scope.paths.proc) ?? DEFAULT_PORT_RANGE;
    const namingOf = ({ identity, zones, edges, ports }: Settings['options']) => ({
      identity,
      zones,
      ephemeral,
      edges,
      ports,
    });
    const readerOf = (naming: EdgeNaming) =>
      Object.assign(new FlowReader(user, naming, subjectOf), { max: naming.edges, labelMax: naming.ports });
    let reader = readerOf(namingOf(options));
    const named = scope.own(scope.naming.show(namingOf(options)));
    const hidden = new HiddenRows(!options.loopback, (row) => user.counted(row));
    const collected = new CollectedEdges(subjectOf, jiffiesPerSecond(), (netns) => isForgotten(scope.owners, netns));
    return {
      ...user.report,
      apply: (changed) => {
        user.change(usedBy(changed));
        reader = readerOf(namingOf(changed.options));
        named.change(namingOf(changed.options));
        return true;
      },
      health: () => ({
        reader: user.hook,
        note: user.untranslated && `peers behind NAT have the translated address: ${user.untranslated}`,
        degraded: [...user.degraded, ...scope.hostPods.degraded, ...openDegraded(sockets.health)],
      }),
      ledger: () => user.ledger('degraded'),
      unoffered: () => user.ledger('record'),
      edges: () => collected.last,
      isShown,
      collect: async (emit, cycle) => {
        const rows = await user.rows(cycle);
        await scope.hostPods.find(new Set(rows.map(({ place }) => place.cgroup)));
        const settled = subjects.settle(rows);
        const shown = isShown === undefined ? settled : settled.filter((row) => isShown(subjectOf(row)));
        await identities.find(shown);
        user.watch((row) => identities.mayBeTranslated(row));
        collected.take(shown);
        emitRows(emit, shown, user, reader, hidden);
        for (const [reason, count] of Object.entries(identities.unresolved()) as [Unresolved, number][]) {
          emit('unresolvedPeers', NODE, count, { reason });
        }
        const translated = shown.filter((row) => identities.mayBeTranslated(row));
        for (const [state, count] of translationStates(translated, user.translates)) {
          emit('translatedPeers', NODE, count, { state });
        }
      },
    };
  },
});

/**
 * Counts rows whose peers may be behind NAT by state.
 * @param canFind whether real ends can be found
 */
function translationStates(rows: readonly FlowRow[], canFind: boolean): Map<TranslationState, number> {
  const counts = new Map<TranslationState, number>(TRANSLATION_STATES.map((state) => [state, 0]));
  for (const { translation, isLast } of rows) {
    if (isLast) continue;
    const state = canFind ? (translation?.state ?? 'pending') : 'no_lookup';
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return counts;
}

/**
 * Returns the reason why open connections are not counted, if any. The walk that reads them cannot run on old kernels.
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
