import type { EventRecord } from './events.ts';

/** A Pod that an event concerns. A name is null if it is unknown, and empty for the node. */
export interface EventPod {
  readonly namespace: string | null;
  readonly pod: string | null;
}

/** Returns the Pods that an event concerns: its own or, for a packet that the node dropped, those at its ends. */
export function podsOf({ namespace, pod, srcOwner, dstOwner }: EventRecord): readonly EventPod[] {
  const ends = pod === '' ? [srcOwner, dstOwner] : [];
  return [
    { namespace, pod },
    ...ends.flatMap((end) => (end?.kind === 'pod' ? { namespace: end.namespace, pod: end.name } : [])),
  ];
}
