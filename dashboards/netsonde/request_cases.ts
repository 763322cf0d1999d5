import { dns } from '#probes/dns/dns.ts';
import { http } from '#probes/http/http.ts';
import { type Case, counts, type Labels, type Series, TARGET } from './alert_series.ts';

/** Cases for promtool's test of the alerts in `request_alerts.ts`. */

const POD = { ...TARGET, namespace: 'shop', pod: 'cart-7d4b9c6f8d-x2x9k' };
const REPLICA = { ...POD, node: 'n2', pod: 'cart-7d4b9c6f8d-b7k2p' };
const OTHER = { ...TARGET, namespace: 'shop', pod: 'web-0' };
const CART = { cluster: 'c1', namespace: 'shop', workload: 'cart' };

/** Returns the requests of a Pod, by their status. */
function requests(pod: Labels, role: string, statuses: Readonly<Record<string, number>>): Series[] {
  return Object.entries(statuses).map(([status, perSecond]) =>
    counts(http.metrics.requests, { ...pod, role, version: '1', status }, perSecond),
  );
}

/** Returns a server's requests, of which all take between one bound and the next. */
function timed(pod: Labels, perSecond: number, above: number): Series[] {
  const { durations } = http.metrics;
  const labels = { ...pod, role: 'server', status: 'ok' };
  const buckets = [...durations.buckets, Number.POSITIVE_INFINITY].map((bound) =>
    counts(
      durations,
      { ...labels, le: bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound) },
      bound > above ? perSecond : 0,
      '_bucket',
    ),
  );
  return [...buckets, ...requests(pod, 'server', { '2xx': perSecond })];
}

function client(pod: Labels, asked: number, answered: Readonly<Record<string, number>>, silent: number): Series[] {
  const labels = { ...pod, role: 'client' };
  return [
    counts(dns.metrics.queries, { ...labels, qtype: 'a' }, asked),
    counts(dns.metrics.unanswered, labels, silent),
    ...Object.entries(answered).map(([rcode, perSecond]) =>
      counts(dns.metrics.answers, { ...labels, rcode }, perSecond),
    ),
  ];
}

export const REQUEST_CASES: readonly Case[] = [
  {
    alert: 'NetsondeHttpErrors',
    // Only both Pods of the workload together are above the threshold for the number. No alert fires for the clients
    // that give up, for the other workload, of which fewer fail, or for the client, of which only one in a minute fails.
    series: [
      ...requests(POD, 'server', { '2xx': 0.3, '5xx': 0.04, none: 0.1 }),
      ...requests(REPLICA, 'server', { '2xx': 0.3, '5xx': 0.04 }),
      ...requests(OTHER, 'server', { '2xx': 10, '4xx': 10, '5xx': 0.5 }),
      ...requests(OTHER, 'client', { none: 0.02 }),
    ],
    labels: { ...CART, role: 'server' },
    summary: 'shop/cart: 10.26% of its HTTP requests fail (as server).',
  },
  {
    alert: 'NetsondeHttpSlow',
    // All requests of the workload take between 1.05 and 4.19 s, those of the other one half as long.
    series: [...timed(POD, 1, 1.048576), ...timed(OTHER, 1, 0.262144)],
    labels: { ...CART, role: 'server' },
    summary: 'shop/cart: 5 % of its HTTP requests wait 4.037s or longer for the first byte of the response.',
  },
  {
    alert: 'NetsondeDnsFailures',
    // Names that do not exist are no failures.
    series: [
      ...client(POD, 1, { noerror: 0.5, nxdomain: 0.3, servfail: 0.1 }, 0.1),
      ...client(OTHER, 1, { noerror: 0.1, nxdomain: 0.9 }, 0),
    ],
    labels: { ...CART, role: 'client' },
    summary: 'shop/cart: 20% of its DNS queries fail or get no answer.',
  },
];
