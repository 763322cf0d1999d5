import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { type ApiSession, errorOf } from './api.ts';

/** A version of a ConfigMap that the agent rejected, and the reason. */
export interface Rejection {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly reason: string;
}

/** Maximum random delay in milliseconds. It is needed because all agents reject the ConfigMap at the same moment. */
const SPREAD_MS = 10_000;
const TRIES = 4;
const DEADLINE_MS = 5_000;
const CREATED = 201;
const CONFLICT = 409;
/** Maximum message length that Kubernetes accepts. */
const MESSAGE_LENGTH_MAX = 1_024;
/** Maximum length of an object's name. */
const NAME_LENGTH_MAX = 253;

/**
 * Reports a rejection as an Event on the ConfigMap (`kubectl describe configmap`). The name of the Event contains a
 * hash of its content. If many agents report the same error, only the first of them creates the Event.
 * @throws if the Event cannot be created
 */
export async function reportRejection(
  session: ApiSession,
  rejection: Rejection,
  node: string,
  signal: AbortSignal,
  spreadMs = SPREAD_MS,
): Promise<void> {
  const event = eventOf(rejection, node, new Date().toISOString());
  for (let tries = 1; ; tries++) {
    await wait(Math.random() * spreadMs * tries, undefined, { signal });
    try {
      await post(session, event, signal);
      return;
    } catch (error) {
      if (tries === TRIES || signal.aborted) throw error;
    }
  }
}

async function post(session: ApiSession, event: ReturnType<typeof eventOf>, signal: AbortSignal): Promise<void> {
  const response = await session.request({
    method: 'POST',
    path: `/api/v1/namespaces/${event.metadata.namespace}/events`,
    body: event,
    signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
  });
  const error = await errorOf(response);
  if (response.status === CREATED || response.status === CONFLICT) return;
  if (response.status === 401) session.renew();
  throw error;
}

function eventOf({ namespace, name, uid, resourceVersion, reason }: Rejection, node: string, now: string) {
  const hash = createHash('sha256').update([uid, resourceVersion, reason].join('\0')).digest('hex').slice(0, 16);
  const source = 'netsonde';
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name: `${name.slice(0, NAME_LENGTH_MAX - hash.length - 1)}.${hash}` },
    involvedObject: { apiVersion: 'v1', kind: 'ConfigMap', namespace, name, uid, resourceVersion },
    type: 'Warning',
    reason: 'ConfigurationRejected',
    message: reason.length > MESSAGE_LENGTH_MAX ? `${reason.slice(0, MESSAGE_LENGTH_MAX - 1)}…` : reason,
    source: { component: source },
    reportingComponent: source,
    reportingInstance: node,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
}
