import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { flow } from '#probes/flow/flow.ts';
import { counts, type Labels, type Series, shows } from './alert_series.ts';
import { MAP_EDGE } from './edge_rules.ts';

/** Cases for promtool's test of the rules for the edges of the map. */

export interface EdgeCase {
  readonly name: string;
  readonly series: readonly Series[];
  /** Expected results at the end, by query. An edge is written as `source > target`, with the kind of each end. */
  readonly results: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const { sentBytes, receivedBytes, connections, failed, retransmittedSegments, sentSegments } = flow.metrics;

interface Rates {
  readonly sent?: number;
  readonly received?: number;
  readonly opened?: number;
  readonly again?: number;
  readonly segments?: number;
  readonly failed?: Readonly<Record<string, number>>;
}

interface Row {
  /** Namespace and Pod, as in `shop/cart-0`. */
  readonly pod: string;
  readonly role: 'client' | 'server';
  /** Kind, namespace and name of the peer, as in `workload/shop/cart`. */
  readonly peer: string;
  readonly port?: number;
  readonly node?: string;
}

function labelsOf({ pod: own, role, peer: other, port = 80, node = 'n1' }: Row): Labels {
  const [namespace = '', pod = ''] = own.split('/');
  const [peer_kind = '', peer_namespace = '', peer = ''] = other.split('/');
  return { cluster: 'c1', node, namespace, pod, role, peer_kind, peer_namespace, peer, port: String(port) };
}

/** Returns the series of a row, with rates per second. */
function row(which: Row, { sent = 2, received = 1, opened = 1, again = 0, segments, failed: causes = {} }: Rates = {}) {
  const labels = labelsOf(which);
  return [
    counts(sentBytes, labels, sent),
    counts(receivedBytes, labels, received),
    counts(connections, labels, opened),
    counts(retransmittedSegments, labels, again),
    ...(segments === undefined ? [] : [counts(sentSegments, labels, segments)]),
    ...Object.entries(causes).map(([cause, perSecond]) => counts(failed, { ...labels, cause }, perSecond)),
  ];
}

/** Returns the evidence of a node that a workload is behind a Service. */
function behind(namespace: string, service: string, workload: string, node = 'n1'): Series {
  const labels = { cluster: 'c1', node, peer_namespace: namespace, peer: service, workload };
  return shows(AGENT_METRICS.serviceWorkloads, labels, 1);
}

const SENT = 'netsonde:edge_sent_bytes:rate5m';
const RECEIVED = 'netsonde:edge_received_bytes:rate5m';
const OPENED = 'netsonde:edge_connections:rate5m';
const FAILED = 'netsonde:edge_failed_connections:rate5m';
const AGAIN = 'netsonde:edge_retransmitted_segments:rate5m';
const TROUBLE = 'netsonde:edge_trouble';

const CART = 'workload/shop/cart';
const REDIS = 'workload/data/redis';
const SERVICE = 'service/data/cache';
const CART_POD = 'shop/cart-7d4b9c6f8d-x2x9k';
const TO_REDIS = `${CART} > ${REDIS}`;

/** Returns a row of a client with this name, which calls a Service of its own. */
const troubled = (name: string, rates: Rates) =>
  row({ pod: `shop/${name}-0`, role: 'client', peer: 'service/shop/web' }, rates);
const toWeb = (name: string) => `workload/shop/${name} > service/shop/web`;

export const EDGE_CASES: readonly EdgeCase[] = [
  {
    name: 'an edge that both ends report is one, with the bytes of the client and the losses of both ends',
    series: [
      ...row(
        { pod: CART_POD, role: 'client', peer: SERVICE, port: 6379 },
        { sent: 10, received: 100, opened: 3, again: 1, failed: { refused: 2 } },
      ),
      ...row(
        { pod: 'data/redis-0', role: 'server', peer: CART, port: 16379, node: 'n2' },
        { sent: 99, received: 9, opened: 4, again: 4, failed: { timeout: 1 } },
      ),
      behind('data', 'cache', 'redis', 'n2'),
    ],
    results: {
      [SENT]: { [TO_REDIS]: 10 },
      [RECEIVED]: { [TO_REDIS]: 100 },
      [OPENED]: { [TO_REDIS]: 3 },
      [AGAIN]: { [TO_REDIS]: 5 },
      [`${FAILED} > 0`]: { [TO_REDIS]: 2 },
    },
  },
  {
    name: 'Pods of a workload, and ports and zones of a peer, are one edge',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: REDIS }),
      ...row({ pod: 'shop/cart-7d4b9c6f8d-b6b6b', role: 'client', peer: REDIS, node: 'n2' }),
      ...row({ pod: CART_POD, role: 'client', peer: REDIS, port: 81 }),
      counts(sentBytes, { ...labelsOf({ pod: CART_POD, role: 'client', peer: REDIS }), peer_zone: 'a' }, 7),
    ],
    results: { [SENT]: { [TO_REDIS]: 13 }, [OPENED]: { [TO_REDIS]: 3 } },
  },
  {
    name: 'an edge that only the server reports has the bytes from its client',
    series: [
      ...row({ pod: 'data/redis-0', role: 'server', peer: CART }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'external//' }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'external//datacenter' }),
    ],
    results: {
      [SENT]: {
        [TO_REDIS]: 1,
        [`external//external > ${REDIS}`]: 1,
        [`external//datacenter > ${REDIS}`]: 1,
      },
      [RECEIVED]: {
        [TO_REDIS]: 2,
        [`external//external > ${REDIS}`]: 2,
        [`external//datacenter > ${REDIS}`]: 2,
      },
    },
  },
  {
    name: 'a Service with several workloads is the target, and its servers do not repeat the edge',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: SERVICE }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: CART }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'workload/shop/orders' }),
      behind('data', 'cache', 'redis'),
      behind('data', 'cache', 'other', 'n2'),
    ],
    results: { [SENT]: { [`${CART} > ${SERVICE}`]: 2, [`workload/shop/orders > ${REDIS}`]: 1 } },
  },
  {
    name: 'a client without a name is the one that only the client reports',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: REDIS }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'unknown//' }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'node//n2' }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: 'service/shop/all' }),
      // All clients of this server have names, so the unknown one is another.
      ...row({ pod: CART_POD, role: 'client', peer: 'workload/data/postgres' }),
      ...row({ pod: 'data/postgres-0', role: 'server', peer: CART }),
      ...row({ pod: 'data/postgres-0', role: 'server', peer: 'unknown//' }),
    ],
    results: {
      [SENT]: {
        [TO_REDIS]: 2,
        [`${CART} > workload/data/postgres`]: 2,
        'unknown//unknown > workload/data/postgres': 1,
      },
    },
  },
  {
    name: 'a server without a name is the one that reports the client at the same port',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: 'node//n2', port: 6443 }),
      ...row({ pod: CART_POD, role: 'client', peer: 'unknown//', port: 5432 }),
      ...row({ pod: 'kube-system/apiserver-master', role: 'server', peer: CART, port: 6443 }),
    ],
    results: {
      [SENT]: { [`${CART} > workload/kube-system/apiserver-master`]: 1, [`${CART} > unknown//unknown`]: 2 },
    },
  },
  {
    name: 'peers by Pod and by network namespace are workloads',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: 'pod/data/redis-0' }),
      ...row({ pod: 'data/redis-0', role: 'server', peer: `pod/${CART_POD}` }),
      ...row({ pod: '/left', role: 'client', peer: 'local//right' }),
      ...row({ pod: '/right', role: 'server', peer: 'local//left' }),
    ],
    results: { [SENT]: { [TO_REDIS]: 2, 'workload//left > workload//right': 2 } },
  },
  {
    name: 'idle edges, sums, addresses, a Pod with itself and namespaces without an owner are not on the map',
    series: [
      ...row({ pod: CART_POD, role: 'client', peer: REDIS }, { sent: 0, received: 0, opened: 0 }),
      ...row({ pod: CART_POD, role: 'client', peer: '*/*/*' }),
      ...row({ pod: CART_POD, role: 'client', peer: '//10.0.0.7' }),
      ...row({ pod: CART_POD, role: 'client', peer: 'self//' }),
      ...row({ pod: '/unlisted', role: 'client', peer: REDIS }),
      ...row({ pod: '/', role: 'client', peer: REDIS }),
    ],
    results: { [SENT]: {}, 'netsonde:edge_info': {} },
  },
  {
    name: 'trouble has the thresholds of the page',
    series: [
      ...troubled('fine', { failed: { refused: 0.04 }, again: 0.9, segments: 100 }),
      ...troubled('some-refused', { opened: 1, failed: { refused: 0.06 } }),
      ...troubled('refused', { opened: 4, failed: { refused: 1.5 } }),
      ...troubled('rare', { opened: 0, failed: { refused: 0.01 } }),
      ...troubled('given-up', { opened: 1, failed: { given_up: 9 } }),
      ...troubled('some-lost', { again: 2, segments: 100 }),
      ...troubled('lost', { again: 6, segments: 100 }),
      ...troubled('few-lost', { again: 0.05, segments: 0.5 }),
      ...troubled('uncounted', { again: 5 }),
      ...troubled('silent', { sent: 0, received: 0, opened: 0, again: 0.1 }),
    ],
    results: {
      [TROUBLE]: {
        [toWeb('fine')]: 0,
        [toWeb('some-refused')]: 1,
        [toWeb('refused')]: 2,
        [toWeb('rare')]: 1,
        [toWeb('given-up')]: 1,
        [toWeb('some-lost')]: 1,
        [toWeb('lost')]: 2,
        [toWeb('few-lost')]: 0,
        [toWeb('uncounted')]: 0,
        [toWeb('silent')]: 2,
      },
    },
  },
];

const MINUTES = 20;

/** Returns the labels of an edge, as in `workload/shop/cart > service/data/cache`. */
function edgeLabels(edge: string): Labels {
  const [source = '', target = ''] = edge.split(' > ').map((end) => end.split('/'));
  const ends = Object.entries({ source, target }).flatMap(([end, [kind = '', namespace = '', name = '']]) => [
    [`${end}_kind`, kind],
    [`${end}_namespace`, namespace],
    [end, name],
  ]);
  return { cluster: 'c1', ...Object.fromEntries(ends.filter(([, value]) => value !== '')) };
}

/** Returns a case as promtool reads it. @param rendered returns labels as text */
export function edgeTest({ name, series, results }: EdgeCase, rendered: (labels: Labels) => string) {
  return {
    name,
    interval: '1m',
    input_series: series.map(({ metric, labels, values }) => ({ series: `${metric.name}${rendered(labels)}`, values })),
    promql_expr_test: Object.entries(results).map(([query, values]) => ({
      expr: `sum by (${MAP_EDGE.join(', ')}) (${query})`,
      eval_time: `${MINUTES}m`,
      exp_samples: Object.entries(values).map(([edge, value]) => ({
        labels: rendered(edgeLabels(edge)),
        value,
      })),
    })),
  };
}
