import type { JSX } from 'preact';
import type { SeenEvent } from '../event_log.ts';
import { clock, count } from '../format.ts';

const EVENTS_SHOWN = 6;

interface Props {
  /** Events of the edge, newest first. */
  readonly events: readonly SeenEvent[];
  /** Changes of the node's network, newest first. */
  readonly changes: readonly SeenEvent[];
}

/** Lists the events of an edge and the changes of the node together, ordered by time. */
export function Happened({ events, changes }: Props): JSX.Element {
  const all = [...events, ...changes].sort((a, b) => (a.event.time < b.event.time ? 1 : -1));
  return (
    <>
      <h3>Events and changes</h3>
      {events.length === 0 && <p class="quiet">No event of this edge in the last five minutes. Events are sampled.</p>}
      <ul class="happened">
        {all.slice(0, EVENTS_SHOWN).map(({ id, event }) => (
          <li key={id}>
            <span class="value quiet">{clock(event.time)}</span> <span class="value">{event.type}</span>
            {event.count !== undefined && <span class="quiet"> {count(event.count)} times</span>}
            <span class="sub quiet">{event.message}</span>
          </li>
        ))}
      </ul>
      {all.length > EVENTS_SHOWN && <p class="quiet">and {all.length - EVENTS_SHOWN} older ones</p>}
    </>
  );
}
