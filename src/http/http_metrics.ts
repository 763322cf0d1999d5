import { defineMetrics, type LooseEmit, NO_LABELS, NODE } from '#probe/metric.ts';
import { REFUSAL_CAUSES, type RefusalCause } from './refusals.ts';

const agent = { scope: 'agent', detail: 'core', source: 'agent' } as const;

/** Who talks to the agent. */
export const HTTP_METRICS = defineMetrics({
  httpConnections: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_http_connections',
    help: 'Connections to the agent, of all its addresses and sockets.',
    labels: {},
  },
  httpUnread: {
    ...agent,
    type: 'gauge',
    unit: 'bytes',
    name: 'netsonde_http_unread_bytes',
    help: 'Bytes of answers that clients have not taken.',
    labels: {},
  },
  httpRefused: {
    ...agent,
    type: 'counter',
    name: 'netsonde_http_refused_total',
    help: 'Requests that were refused, and connections that were closed, by cause; docs/api.md has the bounds.',
    labels: { cause: { help: 'Why.', values: REFUSAL_CAUSES } },
  },
});

export interface HttpState {
  readonly connections: number;
  readonly unreadBytes: number;
  readonly refused: ReadonlyMap<RefusalCause, number>;
}

export function emitHttp(emit: LooseEmit, { connections, unreadBytes, refused }: HttpState): void {
  emit('httpConnections', NODE, connections, NO_LABELS);
  emit('httpUnread', NODE, unreadBytes, NO_LABELS);
  for (const [cause, count] of refused) emit('httpRefused', NODE, count, { cause });
}
