import type { EventType } from '#probes/index.ts';

/** Links between dashboards that keep the time range and the selection. */

export const UIDS = {
  cluster: 'netsonde-cluster',
  pod: 'netsonde-pod',
  node: 'netsonde-node',
  map: 'netsonde-map',
  flows: 'netsonde-flows',
  requests: 'netsonde-requests',
  dns: 'netsonde-dns',
  gateway: 'netsonde-gateway',
  events: 'netsonde-events',
  agent: 'netsonde-agent',
} as const;

/** Tag of all netsonde dashboards. The menu that links them uses it. */
export const TAG = 'netsonde';

/**
 * URL parameters for the current selection. Grafana omits parameters for which the target dashboard has no variable.
 */
const CHOSEN = '${__url_time_range}&${__all_variables}';
const KEPT = '${__url_time_range}&${datasource:queryparam}&${loki:queryparam}&${cluster:queryparam}';

export const toPods = `/d/${UIDS.pod}?${CHOSEN}`;
export const toNodes = `/d/${UIDS.node}?${CHOSEN}`;
export const toAgents = `/d/${UIDS.agent}?${CHOSEN}`;
export const toMap = `/d/${UIDS.map}?${CHOSEN}`;

/** Link from a table row to the dashboard of its Pod. */
export const podLink = `/d/${UIDS.pod}?${KEPT}&var-namespace=\${__data.fields.namespace}&var-pod=\${__data.fields.pod}`;
export const nodeLink = `/d/${UIDS.node}?${KEPT}&var-node=\${__data.fields.node}`;

/**
 * Returns a link from a row to a dashboard of a workload.
 * @param namespace field of the row with the namespace
 * @param workload field of the row with the name
 */
export function workloadLink(to: 'pod' | 'flows', namespace: string, workload: string): string {
  return `/d/${UIDS[to]}?${KEPT}&var-namespace=\${__data.fields.${namespace}}&var-workload=\${__data.fields.${workload}}`;
}

/** @param by label of the clicked series, which is also an event field; only events with the same value are shown */
export function eventsLink(type: EventType, by?: string): string {
  const url = `/d/${UIDS.events}?${CHOSEN}&var-type=${type}`;
  return by === undefined ? url : `${url}&var-search=%22${by}%22:%22\${__field.labels.${by}}%22`;
}
