import type { MapEdge, MapNode, MapReport } from '#api/map.ts';
import type { RequestNumbers } from '#api/request_edges.ts';
import type { EdgeProtocol, SeenBy } from '#api/words.ts';
import type { Cycle } from '#core/cycle.ts';
import { namesText } from '#core/dns_names.ts';
import type { NetnsId } from '#core/netns.ts';
import { type EdgeNumbers, worstFirst } from '#core/worst_first.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import type {
  DatagramEdges,
  DatagramTotals,
  EdgeEnds,
  EdgePlace,
  EdgeTotals,
  FlowEdges,
  RequestEdges,
  RequestTotals,
} from '#probe/flow_edges.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';
import { addBytes, addRow, asClient, failuresOf, noSums, type Sums } from './flow_map_sums.ts';
import { addNumbers, requestNumbers } from './request_numbers.ts';

export const MAP_NODES_MAX = 500;
export const MAP_EDGES_MAX = 2_000;
/** Maximum number of names by DNS that the edges of one client lead to. Further ones lead to the node without a name. */
export const DNS_NAMES_MAX = 16;
/** Placeholder for an unknown workload behind a Service. It is not the identifier of any node. */
const ANY = '';

/** Inputs of the map other than the totals of the rows. */
export interface MapPlaces {
  /** Name of this node. */
  readonly node: string;
  /** Zone of this node; undefined if it is unknown. */
  readonly zone: string | undefined;
  /** Ports that the kernel assigns to clients. */
  readonly ephemeral: PortRange;
  /** Whether names by DNS are learnt. */
  readonly dnsNames: boolean;
  /** Returns the identity of the owner of a namespace. */
  ownerOf(netns: NetnsId): PeerIdentity;
  /** Returns whether the peer of a row is on this node. */
  isHere(row: EdgePlace): boolean;
  /** Services that the map replaces with the workloads behind them. */
  readonly services: readonly ServiceWorkload[];
}

interface Node {
  readonly identity: PeerIdentity;
  readonly zones: Set<string>;
  /** Names of the Services that are shown as this workload. */
  readonly services: Set<string>;
  isLocal: boolean;
}

interface Edge {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  readonly port: number | null;
  readonly protocol: EdgeProtocol;
  client: Sums | undefined;
  /** Server-side totals of connections from clients on this node. These connections also have client-side rows. */
  inner: Sums | undefined;
  /** Server-side totals of connections from all other clients. */
  server: Sums | undefined;
  /** Whether a client on this node called a Service. */
  isByService: boolean;
  crossZone: boolean | null;
}

/**
 * Returns the map: edges by the identities of both ends, worst first. Its size is limited.
 * @param datagrams undefined if the probe for UDP is disabled
 * @param requests of all probes that count them
 */
export async function reportMap(
  edges: FlowEdges,
  datagrams: DatagramEdges | undefined,
  requests: readonly RequestEdges[],
  places: MapPlaces,
  cycle: Cycle,
): Promise<MapReport> {
  const map = new FlowMap(places);
  // These sums must be read before the first pause, because a collection during a pause may change them.
  for (const row of edges.departed) map.addConnections(row);
  for (const row of datagrams?.departed ?? []) map.addDatagrams(row);
  map.addRest(datagrams?.restBytes ?? 0);
  for (const { departed, rests } of requests) for (const row of [...departed, ...rests]) map.addRequests(row);
  await forEachRow(edges.edges, (row) => map.addConnections(row), cycle);
  await forEachRow(datagrams?.edges ?? [], (row) => map.addDatagrams(row), cycle);
  for (const { edges: all } of requests) await forEachRow(all, (row) => map.addRequests(row), cycle);
  return map.report(edges.collectedAtMs, datagrams === undefined ? 'off' : 'shown');
}

async function forEachRow<Row>(rows: Iterable<Row>, add: (row: Row) => void, cycle: Cycle): Promise<void> {
  for (const row of rows) {
    if (cycle.isDue) await cycle.pause();
    add(row);
  }
}

class FlowMap {
  readonly #places: MapPlaces;
  readonly #nodes = new Map<string, Node>();
  readonly #edges = new Map<string, Edge>();
  /** Workloads behind Services, by the identifier of the Service. */
  readonly #workloads: ReadonlyMap<string, PeerIdentity>;
  /** Names by DNS to which the edges of a client lead, by the identifier of the client. */
  readonly #dnsNames = new Map<string, Set<string>>();
  #restBytes = 0;
  #restRequests = 0;

  constructor(places: MapPlaces) {
    this.#places = places;
    this.#workloads = new Map(
      places.services.map(({ namespace, service, workload }) => [
        idOf({ kind: 'service', namespace, name: service }),
        { kind: 'workload', namespace, name: workload },
      ]),
    );
  }

  addConnections(row: EdgeTotals): void {
    const sums = this.#sumsOf(row, 'tcp');
    if (sums === undefined) this.#leaveOut(row);
    else addRow(sums, row);
  }

  addDatagrams(row: DatagramTotals): void {
    const sums = this.#sumsOf(row, 'udp');
    if (sums === undefined) {
      this.#leaveOut(row);
      return;
    }
    addBytes(sums, row);
    sums.sentDatagrams += Number(row.sentDatagrams);
    sums.receivedDatagrams += Number(row.receivedDatagrams);
  }

  addRequests(row: RequestTotals): void {
    const sums = this.#sumsOf(row, row.protocol === 'dns_udp' ? 'udp' : 'tcp');
    const numbers = requestNumbers(row);
    if (sums !== undefined) sums.requests = addNumbers(sums.requests, numbers);
    else if (row.identity?.kind !== 'self') this.#restRequests += numbers.requests;
  }

  addRest(bytes: number): void {
    this.#restBytes += bytes;
  }

  /** Counts the bytes of a row that the map does not show, except those of connections of a Pod to itself. */
  #leaveOut({ identity, sentBytes, receivedBytes }: EdgeEnds): void {
    if (identity?.kind !== 'self') this.#restBytes += Number(sentBytes) + Number(receivedBytes);
  }

  /** Returns the sums to which a row is added; undefined if the map does not show the row. */
  #sumsOf(row: EdgePlace, protocol: EdgeProtocol): Sums | undefined {
    const { identity, role } = row;
    const owner = this.#places.ownerOf(row.netns);
    // If the owner is unknown, the map has no node for this end of the edge.
    if (identity === undefined || owner.kind === 'unknown' || identity.kind === 'self') return undefined;
    const { zone, ephemeral } = this.#places;
    const isHere = this.#places.isHere(row);
    const own = this.#node(owner, zone, true);
    const peer = this.#node(this.#named(own, row, identity), identity.zone, isHere);
    const isPassing = role === 'client' && row.port >= ephemeral.first && row.port <= ephemeral.last;
    // UDP has no connections. If both ports are in the ephemeral range, both ends have the role of a client, and one of
    // them is chosen to be the server.
    const isClient = role === 'client' && !(protocol === 'udp' && isPassing && isHere && peer < own);
    const [source, target] = isClient ? [own, peer] : [peer, own];
    const edge = this.#edge(source, target, isPassing ? null : row.port, protocol);
    const end = isClient ? 'client' : isHere ? 'inner' : 'server';
    const sums = edge[end] ?? noSums();
    edge[end] = sums;
    if (isClient && identity.kind === 'service') edge.isByService = true;
    edge.crossZone = crossing(edge.crossZone, zone, identity.zone);
    return sums;
  }

  /** Returns the identity under which a peer is shown: with its name by DNS, if it has one. */
  #named(own: string, { dnsNames = [] }: EdgePlace, identity: PeerIdentity): PeerIdentity {
    if (dnsNames.length === 0) return identity;
    const name = namesText(dnsNames);
    const names = this.#dnsNames.get(own) ?? new Set();
    this.#dnsNames.set(own, names);
    if (names.size < DNS_NAMES_MAX) names.add(name);
    return names.has(name) ? { ...identity, name } : identity;
  }

  report(collectedAtMs: number, udp: MapReport['udp']): MapReport {
    const { node } = this.#places;
    const all = this.#seenOnce().map((edge) => ({ edge, shown: toEdge(edge) }));
    const sorted = all.sort((a, b) => worstFirst(numbersOf(a.shown), numbersOf(b.shown)));
    const nodes = new Set<string>();
    const edges: MapEdge[] = [];
    let [restBytes, restRequests] = [this.#restBytes, this.#restRequests];
    for (const { shown } of sorted) {
      const ends = [shown.source, shown.target];
      const added = ends.filter((id) => !nodes.has(id)).length;
      if (edges.length < MAP_EDGES_MAX && nodes.size + added <= MAP_NODES_MAX) {
        for (const id of ends) nodes.add(id);
        edges.push(shown);
      } else {
        restBytes += shown.sentBytes + shown.receivedBytes;
        restRequests += shown.requests?.requests ?? 0;
      }
    }
    return {
      node,
      collectedAt: new Date(collectedAtMs).toISOString(),
      nodes: [...nodes].map((id) => this.#toNode(id)),
      edges,
      omittedEdges: sorted.length - edges.length,
      unknownShare: this.#unknownShare(sorted.map(({ shown }) => shown)),
      udp,
      dnsNames: this.#places.dnsNames ? 'shown' : 'off',
      restRequests,
      restBytes,
    };
  }

  /**
   * Returns the edges without the server-side totals that another edge already contains. A client on this node has its
   * own edge to the same workload. The ports of the two edges differ if the client called a Service, or if a proxy in
   * the server's Pod accepts the connections. If the workload behind a Service is unknown, it may be any workload.
   */
  #seenOnce(): Edge[] {
    const called = new Map<string, Set<string>>();
    for (const { client, isByService, source, target, protocol } of this.#edges.values()) {
      if (client === undefined) continue;
      const key = `${protocol} ${source}`;
      const isOpen = isByService && this.#nodes.get(target)?.identity.kind === 'service';
      called.set(key, (called.get(key) ?? new Set()).add(isOpen ? ANY : target));
    }
    return [...this.#edges.values()].flatMap((edge) => {
      const targets = called.get(`${edge.protocol} ${edge.source}`);
      const isCalled = targets?.has(edge.target) === true || targets?.has(ANY) === true;
      if (edge.client !== undefined || edge.inner === undefined || !isCalled) return [edge];
      return edge.server === undefined ? [] : [{ ...edge, inner: undefined }];
    });
  }

  #unknownShare(edges: readonly MapEdge[]): MapReport['unknownShare'] {
    const isUnknown = ({ source, target }: MapEdge) =>
      [source, target].some((id) => this.#nodes.get(id)?.identity.kind === 'unknown');
    const unknown = edges.filter(isUnknown);
    const shareOf = (count: (edge: MapEdge) => number) => {
      const sum = (of: readonly MapEdge[]) => of.reduce((total, edge) => total + count(edge), 0);
      const total = sum(edges);
      return total === 0 ? 0 : sum(unknown) / total;
    };
    return {
      bytes: shareOf(({ sentBytes, receivedBytes }) => sentBytes + receivedBytes),
      connections: shareOf(({ connections }) => connections),
      edges: shareOf(() => 1),
    };
  }

  #node(given: PeerIdentity, zone: string | undefined, isLocal: boolean): string {
    const workload = this.#workloads.get(idOf(given));
    const identity = workload ?? given;
    const id = idOf(identity);
    let node = this.#nodes.get(id);
    if (node === undefined) {
      node = { identity, zones: new Set(), services: new Set(), isLocal: false };
      this.#nodes.set(id, node);
    }
    if (zone !== undefined) node.zones.add(zone);
    if (workload !== undefined) node.services.add(given.name);
    // A Service is resolved to a workload only by means of Pods on this node.
    if (isLocal || workload !== undefined) node.isLocal = true;
    return id;
  }

  #edge(source: string, target: string, port: number | null, protocol: EdgeProtocol): Edge {
    const id = `${source} ${target} ${port ?? '*'}${protocol === 'tcp' ? '' : ` ${protocol}`}`;
    let edge = this.#edges.get(id);
    if (edge === undefined) {
      edge = {
        id,
        source,
        target,
        port,
        protocol,
        client: undefined,
        inner: undefined,
        server: undefined,
        isByService: false,
        crossZone: null,
      };
      this.#edges.set(id, edge);
    }
    return edge;
  }

  #toNode(id: string): MapNode {
    const { identity, zones, services, isLocal } = this.#nodes.get(id) as Node;
    const [zone] = zones.size === 1 ? zones : [];
    const { kind, namespace, name } = identity;
    return { id, kind, namespace, name, zone: zone ?? null, services: [...services].sort(), local: isLocal };
  }
}

function idOf({ kind, namespace, name }: PeerIdentity): string {
  return `${kind}/${namespace}/${name}`;
}

/**
 * Returns whether an edge crosses zones, given further traffic between zones `a` and `b`. @param before the result so
 * far
 */
function crossing(before: boolean | null, a: string | undefined, b: string | undefined): boolean | null {
  if (before === true || a === undefined || b === undefined) return before;
  return a !== b;
}

/** Converts an edge. If both ends of a connection are on this node, only the client's bytes and connections count. */
function toEdge({ id, source, target, port, protocol, client, inner, server, crossZone }: Edge): MapEdge {
  const ends = [client, inner, server].flatMap((sums) => sums ?? []);
  const sum = (count: (sums: Sums) => number) => ends.reduce((total, sums) => total + count(sums), 0);
  const served = [client === undefined ? inner : undefined, server].flatMap((sums) => sums ?? []);
  const once = [client, ...served.map(asClient)].flatMap((sums) => sums ?? []);
  const sumOnce = (count: (sums: Sums) => number) => once.reduce((total, sums) => total + count(sums), 0);
  const roundTrips = sum((sums) => sums.roundTrips);
  const seenBy: SeenBy = client === undefined ? 'server' : ends.length === 1 ? 'client' : 'both';
  return {
    id,
    source,
    target,
    port,
    protocol,
    connections: sumOnce(({ connections }) => connections),
    open: sumOnce(({ open }) => open),
    failed: failuresOf(once),
    sentBytes: sumOnce((sums) => sums.sentBytes),
    receivedBytes: sumOnce((sums) => sums.receivedBytes),
    sentDatagrams: sumOnce((sums) => sums.sentDatagrams),
    receivedDatagrams: sumOnce((sums) => sums.receivedDatagrams),
    sentSegments: sum((sums) => sums.sentSegments),
    retransmittedSegments: sum((sums) => sums.retransmittedSegments),
    roundTripSeconds: roundTrips === 0 ? null : sum((sums) => sums.roundTripSum) / roundTrips,
    roundTripCount: roundTrips,
    requests: once.reduce<RequestNumbers | null>((total, { requests }) => addNumbers(total, requests), null),
    seenBy,
    crossZone,
  };
}

function numbersOf({ failed, sentBytes, receivedBytes, ...edge }: MapEdge): EdgeNumbers {
  return {
    failures: Object.values(failed).reduce((sum, count) => sum + count, 0),
    sentSegments: edge.sentSegments,
    retransmittedSegments: edge.retransmittedSegments,
    bytes: sentBytes + receivedBytes,
  };
}
