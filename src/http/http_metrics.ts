import { defineMetrics, type LooseEmit, NO_LABELS, NODE } from '#probe/metric.ts';
import { REFUSAL_CAUSES, type RefusalCause } from './refusals.ts';
import type { WebStatus } from './web_file.ts';

const agent = { scope: 'agent', detail: 'core', source: 'agent' } as const;

/** Metrics of the agent's HTTP server. */
export const HTTP_METRICS = defineMetrics({
  httpConnections: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_http_connections',
    help: 'Open connections to the agent, over all listeners.',
    labels: {},
  },
  httpUnread: {
    ...agent,
    type: 'gauge',
    unit: 'bytes',
    name: 'netsonde_http_unread_bytes',
    help: 'Size of the responses that clients have not read.',
    labels: {},
  },
  httpRefused: {
    ...agent,
    type: 'counter',
    name: 'netsonde_http_refused_total',
    help: 'Rejected requests and closed connections, by cause; docs/api.md lists the limits.',
    labels: { cause: { help: 'Cause.', values: REFUSAL_CAUSES } },
  },
  webSuccessful: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_web_config_last_reload_successful',
    help: '1 if the current contents of the file named by --web.config.file are in effect, 0 if they are invalid and the previous settings remain in effect.',
    labels: {},
  },
  webTime: {
    ...agent,
    type: 'gauge',
    unit: 'seconds',
    name: 'netsonde_web_config_last_reload_success_timestamp_seconds',
    help: 'Unix time at which a change of --web.config.file, or of a file that it names, was last applied.',
    labels: {},
  },
  webCertificate: {
    ...agent,
    type: 'gauge',
    unit: 'seconds',
    name: 'netsonde_web_certificate_expiry_timestamp_seconds',
    help: "Unix time at which the agent's certificate expires.",
    labels: {},
  },
});

export interface HttpState {
  /** Status of the web configuration; undefined without --web.config.file. */
  readonly web: WebStatus | undefined;
  readonly connections: number;
  readonly unreadBytes: number;
  readonly refused: ReadonlyMap<RefusalCause, number>;
}

export function emitHttp(emit: LooseEmit, { connections, unreadBytes, refused, web }: HttpState): void {
  emit('httpConnections', NODE, connections, NO_LABELS);
  emit('httpUnread', NODE, unreadBytes, NO_LABELS);
  if (web !== undefined) {
    emit('webSuccessful', NODE, web.successful ? 1 : 0, NO_LABELS);
    emit('webTime', NODE, web.appliedMs / 1_000, NO_LABELS);
    if (web.certificateUntilMs !== undefined) emit('webCertificate', NODE, web.certificateUntilMs / 1_000, NO_LABELS);
  }
  for (const [cause, count] of refused) emit('httpRefused', NODE, count, { cause });
}
