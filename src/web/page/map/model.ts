import { type EdgeCounts, NO_COUNTS } from '#api/flow_rates.ts';
import type { MapEdge, MapNode, MapReport } from '#api/map.ts';
import type { EdgeProtocol } from '#api/words.ts';
import type { SeenEvent } from '../event_log.ts';
import { HISTORY_MS } from '../flows/history.ts';
import { isChange } from '../timeline/marks.ts';
import type { MapBook } from './book.ts';
import type { Directory } from './directory.ts';
import { type Fault, faultsIn } from './faults.ts';
import { isOutside, isolated, nameOf } from './names.ts';
import { type Activity, type DeniedEdge, type Signs, signsOf, type Unplaced } from './signs.ts';
import { type Trouble, troubleOf, worseFirst } from './verdict.ts';

/** An edge with its numbers of the last minute. */
export interface EdgeView {
  readonly id: string;
  readonly source: MapNode;
  readonly target: MapNode;
  readonly port: number | null;
  readonly protocol: EdgeProtocol;
  /** Addresses of the end outside of the cluster, as far as they are known. */
  readonly outside: readonly string[];
  /** Undefined for an edge that is known only from events. */
  readonly edge: MapEdge | undefined;
  /** Growth in the last minute; undefined if it is unknown. */
  readonly counts: EdgeCounts | undefined;
  /** Seconds that the growth covers. */
  readonly seconds: number;
  readonly signs: Signs | undefined;
  readonly trouble: Trouble | undefined;
  /** Title, such as `checkout → orders:8080` or `checkout → resolver:53/UDP`. */
  readonly title: string;
  /** Payload bytes per second in both directions. */
  readonly bytesRate: number;
  /** Whether nothing happened in the last minute, and no connection is open. */
  readonly isIdle: boolean;
}

/** The state of the map at one point in time. */
export interface Snapshot {
  readonly report: MapReport;
  readonly nodes: ReadonlyMap<string, MapNode>;
  /** Edges that are not idle, worst first. */
  readonly edges: readonly EdgeView[];
  /** The edges with problems, worst first. */
  readonly trouble: readonly EdgeView[];
  /** The same edges, of which those that probably have the same cause are one fault. */
  readonly faults: readonly Fault<EdgeView>[];
  /** Seconds that the rates cover; 0 if there are none yet. */
  readonly seconds: number;
  /** Changes of the node's network in the last five minutes, newest first. */
  readonly changes: readonly SeenEvent[];
  /** Part of the bytes of the last minute that has an unknown end: 0 to 1. */
  readonly unknownShare: number;
  readonly unplaced: Unplaced;
}

/** Returns the state of all edges. */
export function snapshotOf(
  { report, history }: MapBook,
  events: readonly SeenEvent[],
  directory: Directory,
): Snapshot | undefined {
  if (report === undefined) return undefined;
  const activityOf = ({ id, open }: MapEdge): Activity => {
    const { counts = NO_COUNTS } = history.sum(id) ?? {};
    if (counts.failures > 0 || (open > 0 && counts.retransmittedSegments > 0)) return 'failing';
    return open > 0 || hasTraffic(counts) ? 'working' : 'idle';
  };
  const found = signsOf(events, report, directory, history.endMs ?? 0, activityOf);
  const { byEdge, denied, nodes: others, unplaced } = found;
  const nodes = new Map([...others, ...report.nodes].map((node) => [node.id, node]));
  const viewOf = (one: DeniedEdge, edge?: MapEdge): EdgeView[] => {
    const [source, target] = [nodes.get(one.source), nodes.get(one.target)];
    if (source === undefined || target === undefined) return [];
    const sum = history.sum(one.id);
    const { id, port, protocol } = one;
    const outside = directory.outsideOf(one);
    return [makeView({ id, source, target, port, protocol, edge, outside }, sum, byEdge.get(id))];
  };
  const all = [...report.edges.flatMap((edge) => viewOf(edge, edge)), ...denied.flatMap((edge) => viewOf(edge))];
  const { seconds, endMs = 0 } = history;
  const changes = events.filter(({ event }) => isChange(event) && endMs - Date.parse(event.time) <= HISTORY_MS);
  const edges = all.filter(({ isIdle }) => seconds === 0 || !isIdle).sort(inOrder);
  const trouble = edges.filter((edge) => edge.trouble !== undefined);
  return {
    ...{ report, nodes, edges, trouble, seconds, changes, unplaced },
    faults: faultsIn(trouble),
    unknownShare: unknownShareOf(edges),
  };
}

function unknownShareOf(edges: readonly EdgeView[]): number {
  const sum = (some: readonly EdgeView[]) => some.reduce((total, { bytesRate }) => total + bytesRate, 0);
  const unknown = edges.filter(({ source, target }) => source.kind === 'unknown' || target.kind === 'unknown');
  return unknown.length === 0 ? 0 : sum(unknown) / Math.max(sum(edges), 1e-9);
}

type Known = Pick<EdgeView, 'id' | 'source' | 'target' | 'port' | 'protocol' | 'edge' | 'outside'>;

function makeView(known: Known, sum: ReturnType<MapBook['history']['sum']>, signs: Signs | undefined): EdgeView {
  const { source, target, protocol, edge } = known;
  const { counts = NO_COUNTS, seconds = 0 } = sum ?? {};
  const open = edge?.open ?? 0;
  const isFar = isOutside(source) || isOutside(target);
  const isStranger = source.kind === 'external' && edge === undefined;
  const trouble = troubleOf({ counts: sum?.counts, open, protocol, signs, isFar, isStranger });
  return {
    ...known,
    counts: sum?.counts,
    seconds,
    signs,
    trouble,
    title: titleOf(known),
    bytesRate: seconds === 0 ? 0 : counts.bytes / seconds,
    isIdle: trouble === undefined && open === 0 && !hasTraffic(counts),
  };
}

/** A server outside of the cluster that has no name is shown with its address if it has only one. */
function titleOf({ source, target, port, protocol, outside }: Known): string {
  const [ip, ...others] = outside;
  const isAddress = ip !== undefined && others.length === 0 && target.kind === 'external' && target.name === '';
  const address = isAddress ? ` ${ip.includes(':') ? `[${ip}]` : ip}` : '';
  return `${isolated(nameOf(source))} → ${isolated(nameOf(target))}${address}${portText(port, protocol)}`;
}

function portText(port: number | null, protocol: EdgeProtocol): string {
  if (protocol === 'tcp') return port === null ? '' : `:${port}`;
  return port === null ? ' UDP' : `:${port}/UDP`;
}

function hasTraffic({ bytes, connections, failures, sentDatagrams, receivedDatagrams, requests }: EdgeCounts): boolean {
  return bytes + connections + failures + sentDatagrams + receivedDatagrams + requests.requests > 0;
}

function inOrder(a: EdgeView, b: EdgeView): number {
  return worseFirst(a.trouble, b.trouble) || b.bytesRate - a.bytesRate || (a.id < b.id ? -1 : 1);
}
