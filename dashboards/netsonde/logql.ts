import { PROBES } from '#probes/index.ts';
import { CLUSTER, NAMESPACE, NODE, POD, WORKLOAD } from './views.ts';

/**
 * Loki queries. A stream has the labels job, node, probe, type and namespace, and the configured labels. The Pod and
 * the addresses are structured metadata, and the line is the event as JSON.
 */

/** All event types with their probes. */
export const EVENT_TYPES: readonly { readonly type: string; readonly probe: string }[] = PROBES.flatMap((probe) =>
  Object.keys(probe.events as Record<string, unknown>).map((type) => ({ type, probe: probe.name })),
);

function streams(...matchers: readonly string[]): string {
  return `{${['job="netsonde"', ...matchers].join(',')}}`;
}

/** Selects events of the node and of all Pods on it. */
export const ON_NODE = streams(CLUSTER, NODE);
/** Selects events of the selected nodes and namespaces. */
export const OF_SCOPE = streams(CLUSTER, NODE, NAMESPACE);
export const OF_POD = `${OF_SCOPE} | ${WORKLOAD} | ${POD}`;
/** Selection of the dashboard *Events*. The search text may be anywhere in the event, in upper or lower case. */
export const OF_CHOICE = `${streams(CLUSTER, NODE, NAMESPACE, 'type=~"$type"')} |~ \`(?i)$search\` | ${POD}`;

/** Renders each event as a sentence. The fields become labels, which Grafana shows when the line is opened. */
export function sentences(selection: string): string {
  return `${selection} | json | line_format \`{{.type}} {{.namespace}}/{{.pod}}: {{.message}}\``;
}

export function ratesByType(selection: string): string {
  return `sum by (type) (rate(${selection} [$__auto]))`;
}

/** Counts events by kind, Pod and reason over the dashboard's time range. */
export function counts(selection: string, most: number): string {
  const fields = 'reason="reason", kind="kind", device="device", process="process"';
  const labels = 'type, node, namespace, pod, reason, kind, device, process';
  return `topk(${most}, sum by (${labels}) (count_over_time(${selection} | json ${fields} [$__range])))`;
}
