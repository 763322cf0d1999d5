import { PROBES } from '#probes/index.ts';
import { CLUSTER, NAMESPACE, NODE, POD, WORKLOAD } from './views.ts';

/**
 * Queries of Loki. A stream has the labels job, node, probe, type and namespace, and configured ones; Pod and addresses are
 * structured metadata; the line is the event as JSON.
 */

/** Every type of event, with its probe. */
export const EVENT_TYPES: readonly { readonly type: string; readonly probe: string }[] = PROBES.flatMap((probe) =>
  Object.keys(probe.events as Record<string, unknown>).map((type) => ({ type, probe: probe.name })),
);

function streams(...matchers: readonly string[]): string {
  return `{${['job="netsonde"', ...matchers].join(',')}}`;
}

/** Events of the node and all Pods on it. */
export const ON_NODE = streams(CLUSTER, NODE);
/** Events of the selected nodes and namespaces. */
export const OF_SCOPE = streams(CLUSTER, NODE, NAMESPACE);
export const OF_POD = `${OF_SCOPE} | ${WORKLOAD} | ${POD}`;
/** Selection of the dashboard of events; the text is searched in the whole event, without regard to case. */
export const OF_CHOICE = `${streams(CLUSTER, NODE, NAMESPACE, 'type=~"$type"')} |~ \`(?i)$search\` | ${POD}`;

/** Renders a sentence for each event; its fields are labels, shown when the line is opened. */
export function sentences(selection: string): string {
  return `${selection} | json | line_format \`{{.type}} {{.namespace}}/{{.pod}}: {{.message}}\``;
}

export function ratesByType(selection: string): string {
  return `sum by (type) (rate(${selection} [$__auto]))`;
}

/** Counts events by kind, Pod and reason, over the time range of the dashboard. */
export function counts(selection: string, most: number): string {
  const fields = 'reason="reason", kind="kind", device="device", process="process"';
  const labels = 'type, node, namespace, pod, reason, kind, device, process';
  return `topk(${most}, sum by (${labels}) (count_over_time(${selection} | json ${fields} [$__range])))`;
}
