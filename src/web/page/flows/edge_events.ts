import { endsOf } from '#api/event_ends.ts';
import { podsOf } from '#api/event_pods.ts';
import type { EdgeSummary } from '#api/flows.ts';
import { addressOf, joinEndpoint, portOf } from '#core/address.ts';
import type { SeenEvent } from '../event_log.ts';

/** Returns the events of the edge's Pod that concern one of the edge's connections, in the given order. */
export function eventsOf(
  events: readonly SeenEvent[],
  { namespace, pod, role, peer, port }: Pick<EdgeSummary, 'namespace' | 'pod' | 'role' | 'peer' | 'port'>,
): readonly SeenEvent[] {
  const server = joinEndpoint(peer, port ?? undefined);
  const isBetween = (one = '', other = '') =>
    role === 'server' ? addressOf(one) === peer && portOf(other) === port : one === server;
  return events.filter(({ event }) => {
    const { src, dst } = endsOf(event);
    return (
      podsOf(event).some((one) => one.pod === pod && one.namespace === namespace) &&
      (isBetween(src, dst) || isBetween(dst, src))
    );
  });
}
