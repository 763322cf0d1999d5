import { flow } from '#probes/flow/flow.ts';
import { tcpconnect } from '#probes/tcpconnect.ts';
import {
  as,
  type Counting,
  type Expression,
  frequency,
  promql,
  rate,
  select,
  type TargetLabel,
  type View,
} from './promql.ts';
import { IS_POD, WORKLOAD_OF_POD_RE2 } from './views.ts';

/** Queries about TCP connections between Pods and their peers, which dashboards and rules share. */

type EdgeLabel = keyof typeof flow.metrics.sentBytes.labels;
type By = readonly (TargetLabel | EdgeLabel)[];

/** Labels that identify an edge within its Pod. */
export const EDGE = Object.keys(flow.metrics.sentBytes.labels) as EdgeLabel[];
/** Legend of a graph with one line per edge. */
export const EDGE_LEGEND = EDGE.map((label) => `{{${label}}}`).join(' ');

export const edgeFailures = (view: View, by: readonly (TargetLabel | EdgeLabel | 'cause')[]): Expression =>
  rate(flow.metrics.failed, view, by);

export const edgeRetransmits = (view: View, by: By): Expression => rate(flow.metrics.retransmittedSegments, view, by);

/** Returns the retransmitted share of the sent segments; no value if none were sent. */
export function edgeRetransmitted(view: View, by: By): Expression {
  const sent = rate(flow.metrics.sentSegments, view, by);
  return as('percentunit', promql`${edgeRetransmits(view, by)} / (${sent} > 0)`);
}

/** Causes that are failures of the network or of the other end. An application may give up for its own reasons. */
export const HARMFUL = ['refused', 'timeout', 'unreachable', 'no_port', 'other'] as const;

/** Returns the connections per second that clients could not establish, by cause. */
export const connectFailures = (view: View, by: readonly (TargetLabel | 'cause')[]): Expression =>
  rate(tcpconnect.metrics.failures, view, by, { cause: HARMFUL });

/** Returns the connections per second that clients established. */
export const connects = (view: View, by: readonly TargetLabel[]): Expression =>
  frequency(tcpconnect.metrics.connectTime, view, by, { role: ['client'] });

/** Flow metrics that are recorded by workload. */
const RECORDED = {
  flow_sent_bytes: flow.metrics.sentBytes,
  flow_received_bytes: flow.metrics.receivedBytes,
  flow_connections: flow.metrics.connections,
  flow_failed_connections: flow.metrics.failed,
  flow_retransmitted_segments: flow.metrics.retransmittedSegments,
  flow_sent_segments: flow.metrics.sentSegments,
} as const satisfies Readonly<Record<string, Counting>>;

export type WorkloadMetric = keyof typeof RECORDED;

/** Labels of a recorded rate. */
export const WORKLOAD_ROW = ['cluster', 'namespace', 'workload', ...EDGE] as const;

function recordOf(name: WorkloadMetric): string {
  return `netsonde:${name}:workload_rate5m`;
}

/** Selects recorded rates. */
export function recorded(name: WorkloadMetric, matchers: readonly string[]): string {
  return `${recordOf(name)}{${matchers.join(',')}}`;
}

/**
 * Rates by workload instead of by Pod, so that a rollout does not start new series. The workload is derived from the
 * name of the Pod.
 */
export const WORKLOAD_RECORDINGS = (Object.keys(RECORDED) as WorkloadMetric[]).map((name) => {
  const metric: Counting = RECORDED[name];
  const labels = ['cluster', 'namespace', 'workload', ...Object.keys(metric.labels)];
  const pods = `rate(${select(metric, { matchers: [IS_POD], window: '' })}[5m])`;
  const text = `sum by (${labels.join(', ')}) (label_replace(${pods}, "workload", "$1", "pod", "${WORKLOAD_OF_POD_RE2}"))`;
  return { record: recordOf(name), expression: { text, metrics: [metric], unit: 'short' } };
});

/** Returns the sum of a recorded rate, grouped by these labels. */
export function byWorkload(
  name: WorkloadMetric,
  matchers: readonly string[],
  by: readonly ('cluster' | 'namespace' | 'workload' | 'cause' | EdgeLabel)[],
): Expression {
  const metric = RECORDED[name];
  const { unit } = rate(metric as Counting, { matchers: [], window: '' }, []);
  const text = `sum${by.length === 0 ? '' : ` by (${by.join(', ')})`} (${recorded(name, matchers)})`;
  return { text, metrics: [metric], unit };
}
