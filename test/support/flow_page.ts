import type { Exposition } from './exposition.ts';

/** Metrics of the probe `flow` for which the generator has sums. */
export const FLOW_METRICS = {
  sent: 'netsonde_flow_sent_bytes_total',
  received: 'netsonde_flow_received_bytes_total',
  connections: 'netsonde_flow_connections_total',
  open: 'netsonde_flow_open_connections',
  failed: 'netsonde_flow_failed_connections_total',
  ends: 'netsonde_flow_closed_connections_total',
} as const;

export type FlowMetric = keyof typeof FLOW_METRICS;

/** A series of an edge on a page. */
export interface ShownSeries {
  readonly pod: string;
  readonly role: string;
  /** Address of the peer; a name that begins with `*` for a series that combines several edges. */
  readonly peer: string;
  /** Port of the server; `*` for a series that combines several ports. */
  readonly port: string;
  readonly metric: FlowMetric;
  /** Reason why a connection failed, or the way in which a connection was closed. */
  readonly cause: string;
  readonly value: number;
}

/** Returns the edge series of these Pods, in the order of the page. */
export function flowSeries({ named }: Exposition, pods: readonly string[]): ShownSeries[] {
  return Object.entries(FLOW_METRICS).flatMap(([metric, name]) =>
    (named.get(name) ?? []).flatMap(({ labels, value }) => {
      const { pod = '', namespace, role = '', peer = '', port = '', cause, end } = labels;
      if (namespace !== '' || !pods.includes(pod)) return [];
      const of = { pod, role, peer, port, metric: metric as FlowMetric, cause: cause ?? end ?? '' };
      return [{ ...of, value: Number(value) }];
    }),
  );
}

/** Returns whether a series belongs to a single edge. */
export function isEdge({ role, peer, port }: ShownSeries): boolean {
  return !peer.startsWith('*') && port !== '*' && role !== '*';
}

export function seriesName({ pod, role, peer, port, metric, cause }: ShownSeries): string {
  return `${pod} ${role} ${peer} ${port} ${metric}${cause === '' ? '' : ` ${cause}`}`;
}

/** Returns the name of the Pod total to which a series contributes. */
export function totalName({ pod, metric, cause }: ShownSeries): string {
  return `${pod} ${metric}${cause === '' ? '' : ` ${cause}`}`;
}
