import type { FlowEdge, FlowsReport } from '#api/flows.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { FlowRole } from '#api/words.ts';
import type { ActiveProbe } from '#collectors/supervisor.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type EdgeNumbers, worstFirst } from '#core/worst_first.ts';
import type { Entity } from '#pods/entity.ts';
import { type EdgeTotals, FLOW_PROBE, type FlowEdges } from '#probe/flow_edges.ts';

/** Criteria by which a client selects edges. An undefined field matches all edges. */
export interface FlowSelection {
  readonly namespace?: string | undefined;
  readonly pod?: string | undefined;
  /** Address in the format of `formatIp`. */
  readonly peer?: string | undefined;
  readonly port?: number | undefined;
  readonly role?: FlowRole | undefined;
  /** Whether to select only edges with failed connections. */
  readonly failed: boolean;
  /** Maximum number of edges in the response. */
  readonly limit: number;
}

/** Totals of the edges, or the reason why there are none and what to do about it. */
export type FlowsAnswer = { readonly report: FlowsReport } | { readonly unavailable: string };

type Owner = Pick<Entity, 'namespace' | 'pod' | 'sharedNetns'>;

interface Found {
  readonly row: EdgeTotals;
  readonly owner: Owner | undefined;
  readonly numbers: EdgeNumbers;
}

/**
 * Returns the reason why there are no totals, and what to do.
 * @param running the probe, if it runs
 */
export function whyNoFlows(statuses: readonly ProbeStatus[], running: ActiveProbe | undefined): string {
  const { state = 'stopped', reason = '' } = statuses.find(({ name }) => name === FLOW_PROBE) ?? {};
  const probe = `the probe ${FLOW_PROBE}`;
  if (state === 'stopped') {
    return `${probe} is off; switch it on in the configuration: probes: { ${FLOW_PROBE}: { enabled: true } }`;
  }
  if (running?.metrics === false) return `${probe} shows no metrics; remove \`metrics: false\` from its section`;
  if (running !== undefined) return `${probe} has collected nothing yet; ask again`;
  return `${probe} is ${state}${reason === '' ? '; ask again' : `: ${reason}`}`;
}

/**
 * Returns the totals of the selected edges, worst first.
 * @param find returns the owner of a namespace, or undefined if it is unknown
 */
export async function reportFlows(
  node: string,
  { collectedAtMs, edges: rows }: FlowEdges,
  selection: FlowSelection,
  find: (netns: NetnsId) => Owner | undefined,
  cycle: Cycle,
): Promise<FlowsReport> {
  const found = new Map<string, Found>();
  for (const row of rows) {
    if (cycle.isDue) await cycle.pause();
    if (!matchesRow(row, selection)) continue;
    const owner = find(row.netns);
    if (!matchesOwner(owner, selection)) continue;
    // Each container of a Pod that shares the node's namespace has its own row.
    const key = `${row.netns} ${row.role} ${row.peer} ${row.port}`;
    const other = found.get(key);
    const sum = other === undefined ? row : addTotals(other.row, row);
    found.set(key, { row: sum, owner, numbers: numbersOf(sum) });
  }
  const sorted = [...found.values()].sort((a, b) => worstFirst(a.numbers, b.numbers));
  const all = sorted.filter(({ row }) => row.peer !== null);
  const edges = all.slice(0, selection.limit).map(({ row, owner }) => toEdge(row, owner));
  return {
    node,
    collectedAt: new Date(collectedAtMs).toISOString(),
    edges,
    omitted: all.length - edges.length,
    rest: sorted.filter(({ row }) => row.peer === null).map(({ row, owner }) => toEdge(row, owner)),
  };
}

function matchesRow(row: EdgeTotals, { peer, port, role, failed }: FlowSelection): boolean {
  return (
    (row.peer === null || ((peer === undefined || row.peer === peer) && (port === undefined || row.port === port))) &&
    (role === undefined || row.role === role) &&
    (!failed || sumOf(row.failed) > 0)
  );
}

function matchesOwner(owner: Owner | undefined, { namespace, pod }: FlowSelection): boolean {
  return (namespace === undefined || owner?.namespace === namespace) && (pod === undefined || owner?.pod === pod);
}

function numbersOf({ failed, sentSegments, retransmittedSegments, sentBytes, receivedBytes }: EdgeTotals): EdgeNumbers {
  return {
    failures: sumOf(failed),
    sentSegments: Number(sentSegments),
    retransmittedSegments: Number(retransmittedSegments),
    bytes: Number(sentBytes) + Number(receivedBytes),
  };
}

const SUMMED = [
  'connections',
  'sentBytes',
  'receivedBytes',
  'sentSegments',
  'receivedSegments',
  'retransmittedSegments',
  'retransmittedBytes',
  'outOfOrderSegments',
  'busySeconds',
  'receiverLimitedSeconds',
  'sendBufferLimitedSeconds',
] as const satisfies readonly (keyof EdgeTotals)[];

function addTotals(a: EdgeTotals, b: EdgeTotals): EdgeTotals {
  const sums = Object.fromEntries(SUMMED.map((name) => [name, Number(a[name]) + Number(b[name])]));
  const { count, sumSeconds } = a.roundTrips;
  return {
    ...a,
    ...sums,
    open: a.open + b.open,
    failed: addCounts(a.failed, b.failed),
    ends: addCounts(a.ends, b.ends),
    roundTrips: {
      count: Number(count) + Number(b.roundTrips.count),
      sumSeconds: sumSeconds + b.roundTrips.sumSeconds,
    },
  };
}

type Counts<Name extends string> = Readonly<Partial<Record<Name, Counter>>>;

function addCounts<Name extends string>(a: Counts<Name>, b: Counts<Name>): Counts<Name> {
  const sums: Partial<Record<Name, Counter>> = { ...a };
  for (const name in b) sums[name] = Number(sums[name] ?? 0) + Number(b[name] ?? 0);
  return sums;
}

function sumOf(counts: Readonly<Partial<Record<string, Counter>>>): number {
  let sum = 0;
  for (const name in counts) sum += Number(counts[name] ?? 0);
  return sum;
}

function toEdge(row: EdgeTotals, owner: Owner | undefined): FlowEdge {
  const { peer, roundTrips } = row;
  const measured = Number(roundTrips.count);
  return {
    namespace: owner?.namespace ?? null,
    pod: owner?.pod ?? null,
    netns: peer === null ? null : String(owner?.sharedNetns ?? row.netns),
    role: row.role,
    peer: peer ?? '*',
    port: peer === null ? null : row.port,
    open: row.open,
    connections: Number(row.connections),
    failed: aboveZero(row.failed),
    ends: aboveZero(row.ends),
    sentBytes: Number(row.sentBytes),
    receivedBytes: Number(row.receivedBytes),
    sentSegments: Number(row.sentSegments),
    receivedSegments: Number(row.receivedSegments),
    retransmittedSegments: Number(row.retransmittedSegments),
    retransmittedBytes: Number(row.retransmittedBytes),
    outOfOrderSegments: Number(row.outOfOrderSegments),
    busySeconds: row.busySeconds,
    receiverLimitedSeconds: row.receiverLimitedSeconds,
    sendBufferLimitedSeconds: row.sendBufferLimitedSeconds,
    roundTripSeconds: measured > 0 ? roundTrips.sumSeconds / measured : null,
  };
}

function aboveZero<Name extends string>(
  counts: Readonly<Partial<Record<Name, Counter>>>,
): Partial<Record<Name, number>> {
  const shown: Partial<Record<Name, number>> = {};
  for (const name in counts) {
    const value = Number(counts[name] ?? 0);
    if (value > 0) shown[name] = value;
  }
  return shown;
}
