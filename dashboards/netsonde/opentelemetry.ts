import { dns } from '#probes/dns/dns.ts';
import { http } from '#probes/http/http.ts';
import { counts, type Labels, shows, TARGET } from './alert_series.ts';
import { type Distribution, type Gauge, type Metric, putLabel, select } from './promql.ts';

/**
 * Recording rules that give metrics of requests the names and attributes of OpenTelemetry's semantic conventions, as its
 * Prometheus exporters write them (https://opentelemetry.io/docs/specs/semconv/http/http-metrics/,
 * https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/,
 * https://opentelemetry.io/docs/specs/semconv/dns/dns-metrics/). They copy series without a sum, so counters stay
 * counters.
 */

interface Copy {
  readonly name: string;
  readonly metric: Distribution | Gauge;
  readonly role: 'client' | 'server';
  /** Value of the attribute `rpc.system.name`. */
  readonly system?: 'grpc';
}

const COPIES: readonly Copy[] = [
  { name: 'http_server_request_duration_seconds', metric: http.metrics.durations, role: 'server' },
  { name: 'http_client_request_duration_seconds', metric: http.metrics.durations, role: 'client' },
  { name: 'http_server_active_requests', metric: http.metrics.open, role: 'server' },
  { name: 'http_client_active_requests', metric: http.metrics.open, role: 'client' },
  { name: 'rpc_server_call_duration_seconds', metric: http.metrics.callDurations, role: 'server', system: 'grpc' },
  { name: 'rpc_client_call_duration_seconds', metric: http.metrics.callDurations, role: 'client', system: 'grpc' },
  { name: 'dns_lookup_duration_seconds', metric: dns.metrics.duration, role: 'client' },
];

/** Value of the attribute `error.type`, which is absent for requests that did not fail. */
const ERROR = '5xx';

function copyOf({ metric, role, system }: Copy, suffix: string): string {
  const series = select<Metric>(metric, { matchers: [`role="${role}"`], window: '' }, {}, suffix);
  if (system !== undefined) return putLabel(`sum without (role) (${series})`, 'rpc_system_name', system);
  if (!('status' in metric.labels)) return `sum without (role) (${series})`;
  return `sum without (role, status) (label_replace(${series}, "error_type", "${ERROR}", "status", "error"))`;
}

export const OPEN_TELEMETRY = COPIES.flatMap((copy) =>
  (copy.metric.type === 'histogram' ? ['_bucket', '_count', '_sum'] : ['']).map((suffix) => ({
    record: `${copy.name}${suffix}`,
    expr: copyOf(copy, suffix),
  })),
);

const GROUP = 'netsonde_opentelemetry';

export function openTelemetryRules() {
  return { groups: [{ name: GROUP, rules: OPEN_TELEMETRY }] };
}

const POD = { ...TARGET, namespace: 'shop', pod: 'cart-0' };
const MINUTES = 10;
const SECONDS = 60 * MINUTES;

/** Returns promtool's test of these rules. */
export function openTelemetryTestFile(ruleFile: string) {
  const rendered = (labels: Labels) =>
    `{${Object.entries(labels)
      .map(([name, value]) => `${name}="${value}"`)
      .join(', ')}}`;
  const { durations, open, callDurations } = http.metrics;
  const grpc = { ...POD, rpc_system_name: 'grpc' };
  const input = [
    counts(durations, { ...POD, role: 'server', status: 'ok' }, 4, '_count'),
    counts(durations, { ...POD, role: 'server', status: 'error' }, 2, '_count'),
    counts(durations, { ...POD, role: 'client', status: 'ok' }, 1, '_count'),
    counts(durations, { ...POD, role: 'server', status: 'ok', le: '0.016384' }, 3, '_bucket'),
    shows(open, { ...POD, role: 'server' }, 7),
    shows(open, { ...POD, role: 'client' }, 5),
    counts(callDurations, { ...POD, role: 'server' }, 6, '_count'),
    counts(callDurations, { ...POD, role: 'client' }, 9, '_count'),
    counts(callDurations, { ...POD, role: 'client', le: '0.016384' }, 8, '_bucket'),
    counts(dns.metrics.duration, { ...POD, role: 'client' }, 3, '_count'),
    counts(dns.metrics.duration, { ...POD, role: 'server' }, 8, '_count'),
  ];
  const expected: readonly [name: string, labels: Labels, value: number][] = [
    ['http_server_request_duration_seconds_count', POD, 4 * SECONDS],
    ['http_server_request_duration_seconds_count', { ...POD, error_type: ERROR }, 2 * SECONDS],
    ['http_client_request_duration_seconds_count', POD, SECONDS],
    ['http_server_request_duration_seconds_bucket', { ...POD, le: '0.016384' }, 3 * SECONDS],
    ['http_server_active_requests', POD, 7],
    ['http_client_active_requests', POD, 5],
    ['rpc_server_call_duration_seconds_count', grpc, 6 * SECONDS],
    ['rpc_client_call_duration_seconds_count', grpc, 9 * SECONDS],
    ['rpc_client_call_duration_seconds_bucket', { ...grpc, le: '0.016384' }, 8 * SECONDS],
    ['dns_lookup_duration_seconds_count', POD, 3 * SECONDS],
  ];
  const names = Map.groupBy(expected, ([name]) => name);
  return {
    rule_files: [ruleFile],
    evaluation_interval: '1m',
    tests: [
      {
        name: 'names of OpenTelemetry',
        interval: '1m',
        input_series: input.map(({ metric, labels, values, suffix = '' }) => ({
          series: `${metric.name}${suffix}${rendered(labels)}`,
          values,
        })),
        promql_expr_test: [...names].map(([name, samples]) => ({
          expr: name,
          eval_time: `${MINUTES}m`,
          exp_samples: samples.map(([, labels, value]) => ({ labels: `${name}${rendered(labels)}`, value })),
        })),
      },
    ],
  };
}
