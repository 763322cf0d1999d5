import type { EventRecord } from '#api/events.ts';

/** An undefined field matches all events; a list matches events that have any of its items. */
export interface EventFilter {
  readonly probe?: readonly string[] | undefined;
  readonly type?: readonly string[] | undefined;
  readonly namespace?: string | undefined;
  readonly pod?: string | undefined;
  /** RFC 3339 time with the same precision as event times, because the two are compared as text. */
  readonly since?: string | undefined;
}

export function matches(event: EventRecord, { probe, type, namespace, pod, since }: EventFilter): boolean {
  return (
    (probe === undefined || probe.includes(event.probe)) &&
    (type === undefined || type.includes(event.type)) &&
    (namespace === undefined || event.namespace === namespace) &&
    (pod === undefined || event.pod === pod) &&
    (since === undefined || event.time >= since)
  );
}
