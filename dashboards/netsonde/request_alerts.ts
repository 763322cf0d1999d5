import type { Alert } from './alerts.ts';
import { promql } from './promql.ts';
import {
  byWorkload,
  FAILED_QUERIES,
  FAILED_QUERIES_LEAST,
  FAILED_REQUESTS,
  FAILED_REQUESTS_LEAST,
  quantileByWorkload,
  SLOW_REQUESTS,
  SLOW_REQUESTS_LEAST,
  workloadQueries,
  workloadRequests,
} from './request_risks.ts';

/** Alerts on requests of applications, by workload. They read the recording rules by workload. */

const WORKLOAD = '{{ $labels.namespace }}/{{ $labels.workload }}';
const PERCENT = '{{ $value | humanizePercentage }}';

const served = workloadRequests('server', []);
const sent = workloadRequests('client', []);
const asked = workloadQueries('client', []);
const slow = quantileByWorkload(0.95, 'http_duration_seconds_bucket', ['role="server"']);
const timed = byWorkload('http_requests', ['role="server"'], ['role']);

export const REQUEST_ALERTS: readonly Alert[] = [
  {
    name: 'NetsondeHttpErrors',
    severity: 'warning',
    expression: promql`(${served.share} > ${FAILED_REQUESTS.alert} and ${served.failed} > ${FAILED_REQUESTS_LEAST}) or (${sent.share} > ${FAILED_REQUESTS.alert} and ${sent.failed} > ${FAILED_REQUESTS_LEAST})`,
    for: '10m',
    summary: `${WORKLOAD}: ${PERCENT} of its HTTP requests fail (as {{ $labels.role }}).`,
    description:
      'As server, it answers with 5xx. As client, its servers do, or do not answer at all. The events of type http_request_failed name the path, the status and the peer.',
  },
  {
    name: 'NetsondeHttpSlow',
    severity: 'info',
    expression: promql`${slow} > ${SLOW_REQUESTS.alert} and ${timed} > ${SLOW_REQUESTS_LEAST}`,
    for: '15m',
    summary: `${WORKLOAD}: 5 % of its HTTP requests wait {{ $value | humanizeDuration }} or longer for the first byte of the response.`,
    description:
      'The time at the socket of the server includes its accept queue and the time until it reads the request. Long polls are slow on purpose; exclude their workload.',
  },
  {
    name: 'NetsondeDnsFailures',
    severity: 'warning',
    expression: promql`${asked.share} > ${FAILED_QUERIES.alert} and ${asked.failed} > ${FAILED_QUERIES_LEAST}`,
    for: '10m',
    summary: `${WORKLOAD}: ${PERCENT} of its DNS queries fail or get no answer.`,
    description:
      'Names that do not exist (NXDOMAIN) are not included. If many workloads are affected, the DNS server or the path to it is the cause; otherwise the events of type dns_unanswered name what this workload asks.',
  },
];
