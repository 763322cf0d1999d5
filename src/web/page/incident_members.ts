import type { Incident } from '#api/incidents.ts';
import type { SeenEvent } from './event_log.ts';

/**
 * Returns the events of an incident that the page has, in the order of the list. Events with the severity info belong
 * to no incident.
 */
export function membersOf(
  { connectionIds, firstTime, lastTime }: Pick<Incident, 'connectionIds' | 'firstTime' | 'lastTime'>,
  events: readonly SeenEvent[],
): readonly SeenEvent[] {
  return events.filter(
    ({ event: { connectionId, severity, time } }) =>
      connectionId !== undefined &&
      connectionIds.includes(connectionId) &&
      severity !== 'info' &&
      time >= firstTime &&
      time <= lastTime,
  );
}
