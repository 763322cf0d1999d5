import type { FlowEdge, FlowsReport } from '#api/flows.ts';
import type { MapReport } from '#api/map.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { FlowRole } from '#api/words.ts';
import type { ActiveProbe } from '#collectors/supervisor.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type EdgeNumbers, worstFirst } from '#core/worst_first.ts';
import type { Entity } from '#pods/entity.ts';
import { type EdgePlace, type EdgeTotals, FLOW_PROBE, type FlowEdges } from '#probe/flow_edges.ts';
import { addTotals } from '#probe/flow_sums.ts';

/** Criteria for the selection of edges. An undefined field matches all edges. */
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

/** Totals of the edges; if there are none, the reason and how to fix it. */
export type FlowsAnswer = Answer<FlowsReport>;
export type MapAnswer = Answer<MapReport>;
type Answer<Report> = { readonly report: Report } | NoFlows;

export interface NoFlows {
  /** Reason why there are no totals, and how to fix it. */
  readonly unavailable: string;
  /** Whether there will be totals soon, without any change to the configuration. */
  readonly isTransient: boolean;
}

/** Owner of a namespace. */
export interface FlowOwner extends Pick<Entity, 'namespace' | 'pod' | 'sharedNetns'> {
  /** Name of the workload. If there is no workload, the name of the entity. */
  readonly workload: string;
}

interface Found {
  readonly row: EdgeTotals;
  readonly owner: FlowOwner | undefined;
  readonly numbers: EdgeNumbers;
}

/**
 * Explains why there are no totals.
 * @param running the probe, if it runs
 */
export function whyNoFlows(statuses: readonly ProbeStatus[], running: ActiveProbe | undefined): NoFlows {
  const { state = 'stopped', reason = '' } = statuses.find(({ name }) => name === FLOW_PROBE) ?? {};
  const probe = `the probe ${FLOW_PROBE}`;
  if (state === 'stopped') {
    const fix = `switch it on in the configuration: probes: { ${FLOW_PROBE}: { enabled: true } }`;
    return { unavailable: `${probe} is off; ${fix}`, isTransient: false };
  }
  if (running?.metrics === false) {
    const fix = 'remove `metrics: false` from its section';
    return { unavailable: `${probe} shows no metrics; ${fix}`, isTransient: false };
  }
  if (running !== undefined) return { unavailable: `${probe} has collected nothing yet`, isTransient: true };
  const why = reason === '' ? '' : `: ${reason}`;
  return { unavailable: `${probe} is ${state}${why}`, isTransient: state === 'starting' };
}

/**
 * Returns the totals of the connections of the selected edges, worst first.
 * @param find returns the owner of a namespace, or undefined if it is unknown
 */
export async function reportFlows(
  node: string,
  { collectedAtMs, edges: rows, departed }: FlowEdges,
  selection: FlowSelection,
  find: (netns: NetnsId) => FlowOwner | undefined,
  cycle: Cycle,
): Promise<Omit<FlowsReport, 'requests'>> {
  // These sums must be read before the first pause, because a collection during a pause may change them.
  const ended = endedOf(departed, selection, find);
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
    departed: ended,
  };
}

/** Returns the sums of ended rows by owner and role. Rows whose owner is no longer known share one sum per role. */
function endedOf(
  departed: Iterable<EdgeTotals>,
  selection: FlowSelection,
  find: (netns: NetnsId) => FlowOwner | undefined,
): FlowEdge[] {
  const sums = new Map<string, Omit<Found, 'numbers'>>();
  for (const one of departed) {
    const owner = find(one.netns);
    if (!matchesOwner(owner, selection)) continue;
    const row: EdgeTotals = { ...one, peer: null, identity: undefined, port: 0 };
    const key = `${owner === undefined ? '' : row.netns} ${row.role}`;
    const other = sums.get(key);
    sums.set(key, { row: other === undefined ? row : addTotals(other.row, row), owner });
  }
  return [...sums.values()].filter(({ row }) => matchesRow(row, selection)).map(({ row, owner }) => toEdge(row, owner));
}

function matchesRow(row: EdgeTotals, selection: FlowSelection): boolean {
  return matchesEnds(row, selection) && (!selection.failed || sumOf(row.failed) > 0);
}

export function matchesEnds(row: EdgePlace, { peer, port, role }: FlowSelection): boolean {
  return (
    (row.peer === null || ((peer === undefined || row.peer === peer) && (port === undefined || row.port === port))) &&
    (role === undefined || row.role === role)
  );
}

export function matchesOwner(owner: FlowOwner | undefined, { namespace, pod }: FlowSelection): boolean {
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

function sumOf(counts: Readonly<Partial<Record<string, Counter>>>): number {
  let sum = 0;
  for (const name in counts) sum += Number(counts[name] ?? 0);
  return sum;
}

type Ends =
  | 'namespace'
  | 'pod'
  | 'workload'
  | 'netns'
  | 'role'
  | 'peer'
  | 'peerKind'
  | 'peerNamespace'
  | 'peerName'
  | 'dnsNames'
  | 'port';

/** Returns the fields of an edge that describe its ends. */
export function endsOf(
  { netns, role, peer, identity, dnsNames = [], port }: EdgePlace,
  owner: FlowOwner | undefined,
): Pick<FlowEdge, Ends> {
  return {
    namespace: owner?.namespace ?? null,
    pod: owner?.pod ?? null,
    workload: owner?.workload ?? null,
    netns: peer === null ? null : String(owner?.sharedNetns ?? netns),
    role,
    peer: peer ?? '*',
    peerKind: identity?.kind ?? null,
    peerNamespace: identity?.namespace ?? '',
    peerName: identity?.name ?? '*',
    dnsNames,
    port: peer === null ? null : port,
  };
}

function toEdge(row: EdgeTotals, owner: FlowOwner | undefined): FlowEdge {
  const { roundTrips } = row;
  const measured = Number(roundTrips.count);
  return {
    ...endsOf(row, owner),
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
    roundTripCount: measured,
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
