import type { EventRecord } from './envelope.ts';

/** Which events somebody wants; what is undefined does not matter. */
export interface EventFilter {
  readonly probe?: string | undefined;
  readonly type?: string | undefined;
  readonly namespace?: string | undefined;
  readonly pod?: string | undefined;
  /** RFC 3339; compares as text. */
  readonly since?: string | undefined;
}

export function matches(event: EventRecord, { probe, type, namespace, pod, since }: EventFilter): boolean {
  return (
    (probe === undefined || event.probe === probe) &&
    (type === undefined || event.type === type) &&
    (namespace === undefined || event.namespace === namespace) &&
    (pod === undefined || event.pod === pod) &&
    (since === undefined || event.time >= since)
  );
}
