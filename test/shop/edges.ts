import { NODE_PORT, outsideIp } from './plan.ts';

/** Edges of the healthy shop, as `client > server:port`. */
export const EDGES = [
  'browser > edge/gateway:80',
  `partner > edge/gateway:${NODE_PORT}`,
  'edge/gateway > shop/storefront:80',
  'edge/gateway > shop/checkout:80',
  'shop/storefront > shop/catalog:80',
  'shop/storefront > shop/search:80',
  'shop/storefront > shop/cart:50051',
  'shop/search > shop/catalog:80',
  'shop/catalog > data/postgres:5432',
  'shop/catalog > data/redis:6379',
  'shop/cart > data/redis:6379',
  'shop/checkout > shop/cart:50051',
  'shop/checkout > shop/orders:80',
  'shop/checkout > data/redis:6379',
  'shop/checkout > payments:443',
  'shop/orders > data/postgres:5432',
  'shop/mailer > data/postgres:5432',
  'shop/mailer > data/redis:6379',
  'shop/reports > data/postgres:5432',
];

/** Configuration that gives names to the hosts outside of the cluster that the map shows. */
export const EXTERNAL = {
  names: Object.fromEntries((['browser', 'payments'] as const).map((name) => [`${outsideIp(name)}/32`, name])),
};

/**
 * Returns the identifiers of the edges in the node graph of the dashboard *Map*. A node replaces the address of the
 * partner by its own, so the map shows that node as the client.
 */
export function edgesOfGraph(edges: readonly string[] = EDGES): string[] {
  return edges.map((edge) => edge.replace(/:\d+$/, '').split(' > ').map(nodeOfGraph).join(' > '));
}

/** Returns the identifier of a node. The part before the first slash is the cluster, which has no name here. */
export function nodeOfGraph(end: string): string {
  if (end.includes('/')) return `/workload/${end}`;
  return end === 'partner' ? '/node//node-b' : `/external//${end}`;
}
