import type { EventType } from '#probes/index.ts';

/** Links from one dashboard to another, with the time range and the selection. */

export const UIDS = {
  cluster: 'netsonde-cluster',
  pod: 'netsonde-pod',
  node: 'netsonde-node',
  events: 'netsonde-events',
  agent: 'netsonde-agent',
} as const;

/** Marks a dashboard as one of these, for the menu that leads from one to the next. */
export const TAG = 'netsonde';

/** Grafana leaves out what a dashboard has no variable for. */
const CHOSEN = '${__url_time_range}&${__all_variables}';
const KEPT = '${__url_time_range}&${datasource:queryparam}&${loki:queryparam}&${cluster:queryparam}';

export const toPods = `/d/${UIDS.pod}?${CHOSEN}`;
export const toNodes = `/d/${UIDS.node}?${CHOSEN}`;
export const toAgents = `/d/${UIDS.agent}?${CHOSEN}`;

/** Link for a row of a table. */
export const podLink = `/d/${UIDS.pod}?${KEPT}&var-namespace=\${__data.fields.namespace}&var-pod=\${__data.fields.pod}`;
export const nodeLink = `/d/${UIDS.node}?${KEPT}&var-node=\${__data.fields.node}`;

/** @param by label of the series that was clicked on, and field of the event: events that have its value */
export function eventsLink(type: EventType, by?: string): string {
  const url = `/d/${UIDS.events}?${CHOSEN}&var-type=${type}`;
  return by === undefined ? url : `${url}&var-search=%22${by}%22:%22\${__field.labels.${by}}%22`;
}
