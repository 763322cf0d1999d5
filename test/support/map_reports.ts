import type { MapEdge, MapNode, MapReport } from '#api/map.ts';

/** Responses of `/api/v1/map` for a fictional shop, and for large graphs that resemble those of real services. */

export const MAP_START_MS = Date.UTC(2026, 10, 28, 14, 0, 0);

export type MapFault = 'refused' | 'lossy' | 'slow' | 'outside';

type Kind = MapNode['kind'];

export function mapNode(kind: Kind, namespace: string, name: string): MapNode {
  return { id: `${kind}/${namespace}/${name}`, kind, namespace, name, zone: null, services: [], local: true };
}

/** Rates per second at which the totals of an edge grow. */
interface Rates {
  readonly bytes: number;
  readonly connections: number;
  /** Round-trip time in seconds. */
  readonly roundTrip: number;
  readonly retransmitted?: number;
  readonly failed?: Readonly<Record<string, number>>;
}

const QUIET: Rates = { bytes: 0, connections: 0, roundTrip: 0 };

/** Returns an edge whose totals have grown at these rates for some seconds. */
export function mapEdge(
  source: MapNode,
  target: MapNode,
  port: number,
  rates: Partial<Rates> = {},
  seconds = 0,
): MapEdge {
  const { bytes, connections, roundTrip, retransmitted = 0, failed = {} } = { ...QUIET, ...rates };
  const total = (rate: number) => Math.round(rate * seconds);
  const sentSegments = total(bytes / 1_000 + connections * 4) + total(retransmitted);
  const samples = total(connections);
  return {
    id: `${source.id} ${target.id} ${port}`,
    source: source.id,
    target: target.id,
    port,
    protocol: 'tcp',
    connections: total(connections),
    open: connections > 0 ? 1 : 0,
    failed: Object.fromEntries(Object.entries(failed).map(([cause, rate]) => [cause, total(rate)])),
    sentBytes: total(bytes * 0.2),
    receivedBytes: total(bytes * 0.8),
    sentDatagrams: 0,
    receivedDatagrams: 0,
    sentSegments,
    retransmittedSegments: total(retransmitted),
    roundTripSeconds: samples === 0 ? null : roundTrip,
    roundTripCount: samples,
    requests: null,
    seenBy: 'both',
    crossZone: null,
  };
}

export function mapReport(
  nodes: readonly MapNode[],
  edges: readonly MapEdge[],
  seconds = 0,
  unknownBytes = 0,
): MapReport {
  return {
    node: 'node-a',
    collectedAt: new Date(MAP_START_MS + seconds * 1_000).toISOString(),
    nodes,
    edges,
    omittedEdges: 0,
    unknownShare: { bytes: unknownBytes, connections: unknownBytes, edges: unknownBytes },
    udp: 'off',
    dnsNames: 'off',
    restRequests: 0,
    restBytes: 0,
  };
}

const SHOP = {
  clients: mapNode('external', '', ''),
  payments: mapNode('external', '', 'payments.example'),
  unknown: mapNode('unknown', '', ''),
  gateway: mapNode('workload', 'edge', 'gateway'),
  storefront: mapNode('workload', 'shop', 'storefront'),
  catalog: mapNode('workload', 'shop', 'catalog'),
  search: mapNode('workload', 'shop', 'search'),
  cart: mapNode('workload', 'shop', 'cart'),
  checkout: mapNode('workload', 'shop', 'checkout'),
  orders: mapNode('workload', 'shop', 'orders'),
  reports: mapNode('workload', 'shop', 'reports'),
  postgres: mapNode('workload', 'data', 'postgres'),
  redis: mapNode('workload', 'data', 'redis'),
  resolver: mapNode('workload', 'system', 'resolver'),
  prometheus: mapNode('workload', 'system', 'prometheus'),
} as const;
export type ShopName = keyof typeof SHOP;

const SHOP_EDGES: readonly (readonly [ShopName, ShopName, number, number, number, number])[] = [
  ['clients', 'gateway', 443, 42e6, 310, 0.021],
  ['gateway', 'storefront', 8080, 38e6, 190, 0.0007],
  ['gateway', 'checkout', 8080, 2.1e6, 22, 0.0006],
  ['gateway', 'unknown', 8443, 0.12e6, 0.4, 0.013],
  ['storefront', 'catalog', 8080, 9.4e6, 80, 0.0009],
  ['storefront', 'search', 9200, 6.2e6, 60, 0.0011],
  ['storefront', 'cart', 8080, 1.9e6, 70, 0.0008],
  ['storefront', 'resolver', 53, 9e3, 0.6, 0.0006],
  ['search', 'catalog', 8080, 0.8e6, 9, 0.0009],
  ['cart', 'redis', 6379, 3.3e6, 4, 0.0005],
  ['catalog', 'postgres', 5432, 5.1e6, 3, 0.0021],
  ['catalog', 'resolver', 53, 4e3, 0.2, 0.0006],
  ['orders', 'postgres', 5432, 0.3e6, 1, 0.0008],
  ['reports', 'postgres', 5432, 0.2e6, 0.5, 0.0008],
  ['checkout', 'orders', 8080, 0.5e6, 19, 0.0007],
  ['checkout', 'redis', 6379, 0.4e6, 2, 0.0005],
  ['checkout', 'payments', 443, 0.2e6, 3, 0.024],
  ...(['gateway', 'storefront', 'catalog', 'search', 'cart', 'checkout', 'orders', 'postgres', 'redis'] as const).map(
    (target) => ['prometheus', target, 9100, 0.05e6, 0.07, 0.0008] as const,
  ),
];

const FAULTS: Readonly<Record<MapFault, { readonly edge: string; readonly rates: Partial<Rates> }>> = {
  refused: { edge: 'checkout orders', rates: { bytes: 0, connections: 0, failed: { refused: 19 } } },
  lossy: { edge: 'storefront search', rates: { retransmitted: 420 } },
  slow: { edge: 'catalog postgres', rates: { roundTrip: 0.182 } },
  outside: { edge: 'checkout payments', rates: { bytes: 0, connections: 0, failed: { unreachable: 3 } } },
};

export function shopNode(name: ShopName): MapNode {
  return SHOP[name];
}

/** @param faultAt second at which the faults began */
export function shopReport(seconds: number, faults: readonly MapFault[] = [], faultAt = 0): MapReport {
  const edges = SHOP_EDGES.map(([source, target, port, bytes, connections, roundTrip]) => {
    const healthy = { bytes, connections, roundTrip };
    const fault = faults.find((name) => FAULTS[name].edge === `${source} ${target}`);
    const before = mapEdge(
      SHOP[source],
      SHOP[target],
      port,
      healthy,
      fault === undefined ? seconds : Math.min(seconds, faultAt),
    );
    if (fault === undefined || seconds <= faultAt) return before;
    return sumOf(
      before,
      mapEdge(SHOP[source], SHOP[target], port, { ...healthy, ...FAULTS[fault].rates }, seconds - faultAt),
    );
  });
  return mapReport(Object.values(SHOP), edges, seconds, 0.003);
}

function addFailures(a: MapEdge['failed'], b: MapEdge['failed']): MapEdge['failed'] {
  const sums: Record<string, number> = { ...a };
  for (const [cause, count] of Object.entries(b)) sums[cause] = (sums[cause] ?? 0) + count;
  return sums;
}

/** Returns the totals of an edge whose rates have changed, from the totals before and after the change. */
function sumOf(a: MapEdge, b: MapEdge): MapEdge {
  const counts = [a, b].map(({ roundTripCount }) => roundTripCount);
  const samples = (counts[0] ?? 0) + (counts[1] ?? 0);
  const sum = (a.roundTripSeconds ?? 0) * (counts[0] ?? 0) + (b.roundTripSeconds ?? 0) * (counts[1] ?? 0);
  return {
    ...b,
    connections: a.connections + b.connections,
    failed: addFailures(a.failed, b.failed),
    sentBytes: a.sentBytes + b.sentBytes,
    receivedBytes: a.receivedBytes + b.receivedBytes,
    sentSegments: a.sentSegments + b.sentSegments,
    retransmittedSegments: a.retransmittedSegments + b.retransmittedSegments,
    roundTripSeconds: samples === 0 ? null : sum / samples,
    roundTripCount: samples,
  };
}

/** Returns a generator of pseudo-random numbers from 0 to 1. It yields the same sequence in each run. */
function randoms(): () => number {
  let state = 12_345;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
}

export interface GraphSize {
  readonly nodes: number;
  readonly edges: number;
  readonly namespaces: number;
}

export const LARGE: GraphSize = { nodes: 200, edges: 1_000, namespaces: 12 };

interface Ranked {
  readonly node: MapNode;
  readonly tier: number;
}

/** Returns a graph of services. Many workloads call two hubs, and 65 % of the edges are within a namespace. */
export function largeReport({ nodes, edges, namespaces }: GraphSize, seconds = 0): MapReport {
  const random = randoms();
  const ranked: Ranked[] = Array.from({ length: nodes }, (_, index) => ({
    node: mapNode('workload', `ns${index % namespaces}`, `workload-${index}`),
    tier: index < nodes - 2 ? Math.floor(random() ** 0.8 * 5) : 5,
  }));
  const found = new Map<string, MapEdge>();
  while (found.size < edges) {
    const source = ranked[Math.floor(random() * (nodes - 2))] as Ranked;
    const target = targetOf(source, ranked, random);
    const key = `${source.node.id} ${target?.node.id}`;
    const isTroubled = random() < 0.05;
    const bytes = 1e3 * 10 ** (4 * random());
    if (target === undefined || target === source || found.has(key)) continue;
    const trouble = found.size % 2 === 0 ? { failed: { refused: 5 }, connections: 0 } : { retransmitted: 20 };
    const rates = { bytes, connections: 2, roundTrip: 0.001, ...(isTroubled ? trouble : {}) };
    found.set(key, mapEdge(source.node, target.node, 8080, rates, seconds));
  }
  const all = ranked.map(({ node }) => node);
  return mapReport(all, [...found.values()], seconds);
}

function targetOf(source: Ranked, ranked: readonly Ranked[], random: () => number): Ranked | undefined {
  if (random() < 0.12) return ranked[ranked.length - 1 - Math.floor(random() * 2)];
  const isNear = random() < 0.65;
  const candidates = ranked.filter(
    ({ node, tier }) =>
      (tier > source.tier || random() < 0.05) && (!isNear || node.namespace === source.node.namespace),
  );
  return candidates[Math.floor(random() * candidates.length)];
}
