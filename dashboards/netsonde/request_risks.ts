import type { Limit } from '#core/limits.ts';
import { dns } from '#probes/dns/dns.ts';
import { http } from '#probes/http/http.ts';
import { NOT_READ } from '#probes/http/http_metrics.ts';
import { as, type Expression, promql, rate, select, type TargetLabel, total, type View } from './promql.ts';
import { IS_POD, WORKLOAD_OF_POD_RE2 } from './views.ts';

/** Queries about requests of applications, which dashboards and rules share. */

/** Limits for the share of requests that fail. */
export const FAILED_REQUESTS: Limit = { notice: 0.01, alert: 0.05 };
/** Minimum number of failed requests per second for an alert on their share. */
export const FAILED_REQUESTS_LEAST = 0.05;
/**
 * Limits for the 95th percentile of the time to the response, in seconds. They are bounds of buckets, because a quantile
 * within a bucket is a guess.
 */
export const SLOW_REQUESTS: Limit = { notice: 2 ** 18 / 1e6, alert: 2 ** 20 / 1e6 };
/** Minimum number of requests per second for an alert on their duration. */
export const SLOW_REQUESTS_LEAST = 0.1;
/** Limits for the share of DNS queries that fail. NXDOMAIN is an answer. */
export const FAILED_QUERIES: Limit = { notice: 0.01, alert: 0.05 };
export const FAILED_QUERIES_LEAST = 0.05;

const HTTP = http.metrics;
const DNS = dns.metrics;

type Role = 'client' | 'server';
type HttpBy = readonly (TargetLabel | 'role' | 'status')[];
type DnsBy = readonly (TargetLabel | 'role')[];

/** Response codes with which a server refuses a query or fails. */
export const DNS_FAILURES = ['formerr', 'servfail', 'notimp', 'refused', 'other'] as const;
/**
 * Statuses that are failures. At a server, a request without a response is usually one that its client gave up.
 */
export const HTTP_FAILURES = { client: ['5xx', 'none'], server: ['5xx'] } as const;

/** Returns the requests per second that failed; 0 if there are only others. */
export function failedRequests(role: Role, view: View, by: HttpBy): Expression {
  const status = HTTP_FAILURES[role];
  const all = rate(HTTP.requests, view, by, { role: [role] });
  return promql`(${rate(HTTP.requests, view, by, { role: [role], status: [...status] })} or 0 * ${all})`;
}

/** Returns the share of the requests that failed; no value if there were none. */
export function failedRequestShare(role: Role, view: View, by: HttpBy): Expression {
  const all = rate(HTTP.requests, view, by, { role: [role] });
  return as('percentunit', promql`${failedRequests(role, view, by)} / (${all} > 0)`);
}

/** Returns the queries per second that failed or got no answer; 0 if there are only others. */
export function failedQueries(role: Role, view: View, by: DnsBy): Expression {
  const only = { role: [role] } as const;
  const answers = rate(DNS.answers, view, by, { ...only, rcode: [...DNS_FAILURES] });
  const all = rate(DNS.queries, view, by, only);
  return promql`((${answers} or 0 * ${all}) + (${rate(DNS.unanswered, view, by, only)} or 0 * ${all}))`;
}

/** Returns the share of the queries that failed; no value if there were none. */
export function failedQueryShare(role: Role, view: View, by: DnsBy): Expression {
  const all = rate(DNS.queries, view, by, { role: [role] });
  return as('percentunit', promql`${failedQueries(role, view, by)} / (${all} > 0)`);
}

/** Returns the share of the queries whose name does not exist. */
export function missingNameShare(view: View, by: DnsBy): Expression {
  const all = rate(DNS.queries, view, by, { role: ['client'] });
  const missing = rate(DNS.answers, view, by, { role: ['client'], rcode: ['nxdomain'] });
  return as('percentunit', promql`(${missing} or 0 * ${all}) / (${all} > 0)`);
}

const share = (part: Expression, all: Expression) => as('percentunit', promql`${part} / (${all} > 0)`);

/**
 * Returns shares of what the requests in a panel do not include, by name. Shares of connections refer to all connections
 * since the agent started, because a connection that is open for days is not in any rate.
 */
export function notRead(view: View, by: readonly TargetLabel[]): Readonly<Record<string, Expression>> {
  const all = total(HTTP.connections, view, by);
  const orNone = (part: Expression) => promql`(${part} or 0 * ${all})`;
  const requests = rate(HTTP.requests, view, by);
  return {
    ...Object.fromEntries(
      NOT_READ.map((protocol) => [
        protocol === 'tls' ? 'encrypted' : protocol,
        share(orNone(total(HTTP.connections, view, by, { protocol: [protocol] })), all),
      ]),
    ),
    late: share(orNone(total(HTTP.late, view, by)), all),
    unknown: share(promql`(${rate(HTTP.requests, view, by, { status: ['unknown'] })} or 0 * ${requests})`, requests),
  };
}

/** Returns the share of all connections since the agent started whose requests are not read. */
export function notReadShare(view: View, by: readonly TargetLabel[]): Expression {
  const all = total(HTTP.connections, view, by);
  return share(promql`(${total(HTTP.connections, view, by, { protocol: [...NOT_READ] })} or 0 * ${all})`, all);
}

/** Metrics that are recorded by workload, with a suffix for the series of a histogram. */
const RECORDED = {
  http_requests: { metric: HTTP.requests, suffix: '' },
  http_edge_requests: { metric: HTTP.edgeRequests, suffix: '' },
  http_edge_errors: { metric: HTTP.edgeErrors, suffix: '' },
  http_duration_seconds_bucket: { metric: HTTP.durations, suffix: '_bucket' },
  dns_queries: { metric: DNS.queries, suffix: '' },
  dns_answers: { metric: DNS.answers, suffix: '' },
  dns_unanswered: { metric: DNS.unanswered, suffix: '' },
  dns_edge_requests: { metric: DNS.edgeRequests, suffix: '' },
  dns_edge_errors: { metric: DNS.edgeErrors, suffix: '' },
  dns_duration_seconds_bucket: { metric: DNS.duration, suffix: '_bucket' },
} as const;

export type RequestRecord = keyof typeof RECORDED;
export const BY_WORKLOAD = ['cluster', 'namespace', 'workload'] as const;

const recordOf = (name: RequestRecord) => `netsonde:${name}:workload_rate5m`;

/** Rates of requests by workload instead of by Pod, so that a rollout does not start new series. */
export const REQUEST_RECORDINGS = (Object.keys(RECORDED) as RequestRecord[]).map((name) => {
  const { metric, suffix } = RECORDED[name];
  const labels = [...BY_WORKLOAD, ...Object.keys(metric.labels), ...(suffix === '_bucket' ? ['le'] : [])];
  const pods = `rate(${select(metric, { matchers: [IS_POD], window: '' }, {}, suffix)}[5m])`;
  const text = `sum by (${labels.join(', ')}) (label_replace(${pods}, "workload", "$1", "pod", "${WORKLOAD_OF_POD_RE2}"))`;
  return { record: recordOf(name), expression: { text, metrics: [metric], unit: 'short' } satisfies Expression };
});

/** Returns a recorded rate, summed up by these labels. */
export function byWorkload(name: RequestRecord, matchers: readonly string[], by: readonly string[]): Expression {
  const { metric } = RECORDED[name];
  const text = `sum by (${[...BY_WORKLOAD, ...by].join(', ')}) (${recordOf(name)}{${matchers.join(',')}})`;
  return { text, metrics: [metric], unit: 'reqps' };
}

/** Returns a quantile of a recorded histogram, in seconds. */
export function quantileByWorkload(
  quantile: number,
  name: RequestRecord & `${string}_bucket`,
  matchers: readonly string[],
): Expression {
  const buckets = byWorkload(name, matchers, ['le', 'role']);
  return { ...buckets, text: `histogram_quantile(${quantile}, ${buckets.text})`, unit: 's' };
}

const ofRole = (role: Role, ...more: readonly string[]) => [`role="${role}"`, ...more];

/** Returns the requests of each workload per second, and those that failed. */
export function workloadRequests(role: Role, matchers: readonly string[]) {
  const all = byWorkload('http_requests', ofRole(role, ...matchers), ['role']);
  const failures = `status=~"${HTTP_FAILURES[role].join('|')}"`;
  const failed = promql`(${byWorkload('http_requests', ofRole(role, failures, ...matchers), ['role'])} or 0 * ${all})`;
  return { all, failed, share: as('percentunit', promql`${failed} / (${all} > 0)`) };
}

/** Returns the DNS queries of each workload per second, and those that failed. */
export function workloadQueries(role: Role, matchers: readonly string[]) {
  const all = byWorkload('dns_queries', ofRole(role, ...matchers), ['role']);
  const failures = `rcode=~"${DNS_FAILURES.join('|')}"`;
  const answers = byWorkload('dns_answers', ofRole(role, failures, ...matchers), ['role']);
  const unanswered = byWorkload('dns_unanswered', ofRole(role, ...matchers), ['role']);
  const failed = promql`((${answers} or 0 * ${all}) + (${unanswered} or 0 * ${all}))`;
  return { all, failed, share: as('percentunit', promql`${failed} / (${all} > 0)`) };
}
