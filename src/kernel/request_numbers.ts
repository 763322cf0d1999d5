import type { ConnectionsRead, RequestEdge, RequestsReport } from '#api/flows.ts';
import type { RequestNumbers } from '#api/request_edges.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { RequestEdges, RequestTotals } from '#probe/flow_edges.ts';
import { addRequests } from '#probe/request_edges.ts';
import { endsOf, type FlowOwner, type FlowSelection, matchesEnds, matchesOwner } from './flows.ts';

const NANOSECONDS = 1e9;

export function requestNumbers({ requests, durations, sumNs }: RequestTotals): RequestNumbers {
  const [ok, declined, failed, unread] = [requests.ok, requests.declined, requests.failed, requests.unread].map(Number);
  return {
    requests: (ok ?? 0) + (declined ?? 0) + (failed ?? 0) + (unread ?? 0),
    failed: failed ?? 0,
    declined: declined ?? 0,
    unread: unread ?? 0,
    seconds: Number(sumNs) / NANOSECONDS,
    durations: durations.map(Number),
  };
}

/** Adds the numbers of two edges. Null stands for no requests. */
export function addNumbers(a: RequestNumbers | null, b: RequestNumbers | null): RequestNumbers | null {
  if (a === null || b === null) return a ?? b;
  return {
    requests: a.requests + b.requests,
    failed: a.failed + b.failed,
    declined: a.declined + b.declined,
    unread: a.unread + b.unread,
    seconds: a.seconds + b.seconds,
    durations: a.durations.map((count, index) => count + (b.durations[index] ?? 0)),
  };
}

interface Found {
  readonly row: RequestTotals;
  readonly owner: FlowOwner | undefined;
}

/**
 * Returns the totals of the selected edges, most failed first.
 * @param all requests of all probes that count them
 * @param find returns the owner of a namespace, or undefined if it is unknown
 */
export async function reportRequests(
  all: readonly RequestEdges[],
  selection: FlowSelection,
  find: (netns: NetnsId) => FlowOwner | undefined,
  cycle: Cycle,
): Promise<RequestsReport> {
  const isSelected = (row: RequestTotals) =>
    matchesEnds(row, selection) && (!selection.failed || Number(row.requests.failed) > 0);
  const sumsOf = async (rows: Iterable<RequestTotals>, keyOf: (row: RequestTotals) => string) => {
    const sums = new Map<string, Found>();
    for (const row of rows) {
      if (cycle.isDue) await cycle.pause();
      const owner = find(row.netns);
      if (!matchesOwner(owner, selection)) continue;
      const key = `${keyOf(row)} ${row.role} ${row.protocol}`;
      const other = sums.get(key);
      sums.set(key, { row: other === undefined ? row : addRequests(other.row, row), owner });
    }
    return [...sums.values()].filter(({ row }) => isSelected(row)).map(toEdge);
  };
  const unnamed = (row: RequestTotals): RequestTotals => ({ ...row, peer: null, identity: undefined, port: 0 });
  // These sums must be read before the first pause, because a collection during a pause may change them.
  const ended = all.flatMap(({ departed }) => [...departed].map(unnamed));
  const rests = all.flatMap((edges) => edges.rests);
  const shown = await sumsOf(
    all.flatMap(({ edges }) => [...edges]),
    ({ netns, peer, port }) => `${netns} ${peer} ${port}`,
  );
  shown.sort((a, b) => b.failed - a.failed || b.requests - a.requests);
  const edges = shown.slice(0, selection.limit);
  return {
    edges,
    omitted: shown.length - edges.length,
    rest: await sumsOf(rests, ({ netns }) => String(netns)),
    // Rows whose owner is no longer known share one sum.
    connections: connectionsOf(all, selection, find),
    departed: await sumsOf(ended, ({ netns }) => (find(netns) === undefined ? '' : String(netns))),
  };
}

function connectionsOf(
  all: readonly RequestEdges[],
  selection: FlowSelection,
  find: (netns: NetnsId) => FlowOwner | undefined,
): ConnectionsRead[] {
  return all.flatMap(({ connections }) =>
    connections.flatMap(({ netns, read, encrypted, other, late, refused }) => {
      const owner = find(netns);
      // Connections of namespaces without an owner may be those of another cluster on this machine.
      if (owner === undefined || !matchesOwner(owner, selection)) return [];
      return {
        namespace: owner.namespace,
        pod: owner.pod,
        read: Number(read),
        encrypted: Number(encrypted),
        other: Number(other),
        late: Number(late),
        refused: Number(refused),
      };
    }),
  );
}

function toEdge({ row, owner }: Found): RequestEdge {
  return { ...endsOf(row, owner), protocol: row.protocol, ...requestNumbers(row) };
}
