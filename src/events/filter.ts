import { podsOf } from '#api/event_pods.ts';
import type { EventRecord } from '#api/events.ts';

/** Filters for events. An undefined field matches all events, and a list matches events that have any of its items. */
export interface EventFilter {
  readonly probe?: readonly string[] | undefined;
  readonly type?: readonly string[] | undefined;
  readonly namespace?: string | undefined;
  readonly pod?: string | undefined;
  readonly connectionId?: readonly string[] | undefined;
  /** RFC 3339 time with the same precision as event times, because the two are compared as text. */
  readonly since?: string | undefined;
}

export function matches(event: EventRecord, filter: EventFilter): boolean {
  const { probe, type, namespace, pod, connectionId, since } = filter;
  return (
    (probe === undefined || probe.includes(event.probe)) &&
    (type === undefined || type.includes(event.type)) &&
    podsOf(event).some(
      (one) => (namespace === undefined || one.namespace === namespace) && (pod === undefined || one.pod === pod),
    ) &&
    (connectionId === undefined || (event.connectionId !== undefined && connectionId.includes(event.connectionId))) &&
    (since === undefined || event.time >= since)
  );
}
