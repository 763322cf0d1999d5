import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { EventDetails } from './event_details.tsx';
import { choices, EVENTS_MAX, type Filter, matches, NO_FILTER, type SeenEvent } from './event_log.ts';
import { clock, count, entityName } from './format.ts';
import type { Store } from './store.ts';
import { Empty, type ViewProps } from './view.tsx';

export function EventsView({ store, place, filter }: ViewProps): JSX.Element {
  const [held, hold] = useState<readonly SeenEvent[] | undefined>(undefined);
  const [opened, open] = useState('');
  const { log } = store;
  const wanted: Filter = { ...NO_FILTER, ...place.filters };
  log.filter = wanted;
  const isWanted = (seen: SeenEvent) => matches(seen, wanted);
  const rows = (held ?? log.events).filter(isWanted);
  const waiting = held === undefined ? 0 : newerThan(log.events, held).filter(isWanted).length;
  const toggle = (id: string) => {
    // The list is frozen while an event is open, so that the event does not move while the user is reading it.
    if (opened !== id && held === undefined) hold(log.events);
    open(opened === id ? '' : id);
  };
  const resume = () => {
    hold(undefined);
    open('');
  };
  return (
    <section>
      <h2>Events</h2>
      <Filters store={store} wanted={wanted} filter={filter}>
        <button type="button" class="pause" onClick={held === undefined ? () => hold(log.events) : resume}>
          {held === undefined ? 'Pause' : `Resume${waiting > 0 ? ` (${count(waiting)} new)` : ''}`}
        </button>
      </Filters>
      {rows.length === 0 ? (
        <NoEvents store={store} isFiltered={Object.values(wanted).some((value) => value !== '')} />
      ) : (
        <table class="cards events">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Type</th>
              <th scope="col">Pod</th>
              <th scope="col">From, to</th>
              <th scope="col">Reason</th>
              <th scope="col" class="number">
                Times
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((seen) => (
              <EventRow key={seen.id} seen={seen} isOpen={seen.id === opened} toggle={toggle} />
            ))}
          </tbody>
        </table>
      )}
      <Bounds store={store} shown={rows.length} />
    </section>
  );
}

function newerThan(all: readonly SeenEvent[], held: readonly SeenEvent[]): readonly SeenEvent[] {
  const at = all.findIndex(({ id }) => id === held[0]?.id);
  return at < 0 ? all : all.slice(0, at);
}

interface FiltersProps {
  readonly store: Store;
  readonly wanted: Filter;
  readonly filter: ViewProps['filter'];
  readonly children: JSX.Element;
}

function Filters({ store: { log }, wanted, filter, children }: FiltersProps): JSX.Element {
  const select = (key: 'probe' | 'type' | 'severity', title: string) => (
    <label>
      {title}
      <select value={wanted[key]} onChange={(event) => filter({ [key]: event.currentTarget.value })}>
        <option value="">all</option>
        {choices(log.events, key, wanted[key]).map((value) => (
          <option key={value} value={value}>
            {value}
          </option>
        ))}
      </select>
    </label>
  );
  const search = (key: 'pod' | 'text', title: string, placeholder: string) => (
    <label class="wide">
      {title}
      <input
        type="search"
        value={wanted[key]}
        placeholder={placeholder}
        onInput={(event) => filter({ [key]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <search class="filters">
      {select('probe', 'Probe')}
      {select('type', 'Type')}
      {select('severity', 'Severity')}
      {search('pod', 'Pod', 'namespace/name')}
      {search('text', 'Text', 'address, reason, process, …')}
      {children}
    </search>
  );
}

interface RowProps {
  readonly seen: SeenEvent;
  readonly isOpen: boolean;
  readonly toggle: (id: string) => void;
}

const TONES = { info: 'off', warning: 'warn', critical: 'bad' } as const;

function EventRow({ seen: { id, event }, isOpen, toggle }: RowProps): JSX.Element {
  const details = `details-${id}`;
  return (
    <>
      <tr class={isOpen ? 'open' : ''}>
        <td data-label="Time" class="value">
          <button
            type="button"
            class="row"
            aria-expanded={isOpen}
            aria-controls={details}
            title={event.time}
            onClick={() => toggle(id)}
          >
            {clock(event.time, true)}
          </button>
        </td>
        <td data-label="Type">
          <span class={`state ${TONES[event.severity]}`}>{event.severity}</span> <span class="value">{event.type}</span>
        </td>
        <td data-label="Pod" class="value">
          {entityName(event)}
        </td>
        <td data-label="From, to" class="value">
          {event.src === undefined ? '–' : `${event.src} → ${event.dst} ${event.protocol ?? ''}`}
        </td>
        <td data-label="Reason" class="value">
          {reasonOf(event)}
        </td>
        <td data-label="Times" class="number value">
          {typeof event['count'] === 'number' ? count(event['count']) : 1}
          {event.ports !== undefined && (
            <span class="sub quiet">{count(event.ports.length + (event.morePorts ?? 0))} ports</span>
          )}
        </td>
      </tr>
      {isOpen && (
        <tr class="details" id={details}>
          <td colSpan={6}>
            <EventDetails event={event} />
          </td>
        </tr>
      )}
    </>
  );
}

/** Returns the values of the fields that best tell events of the same type apart. */
function reasonOf(event: SeenEvent['event']): string {
  const { reason, kind, direction, process } = event;
  const parts = [direction, reason ?? kind ?? process].filter((part) => typeof part === 'string');
  return parts.length === 0 ? '–' : parts.join(' ');
}

function NoEvents({ store, isFiltered }: { store: Store; isFiltered: boolean }): JSX.Element {
  const { log, streaming, answers } = store;
  if (isFiltered && log.events.length > 0) {
    return <Empty>None of the {count(log.events.length)} events on this page match the filters.</Empty>;
  }
  if (!streaming) return <Empty>The event stream is not connected yet.</Empty>;
  const sources = answers.probes?.filter(({ state, programs }) => programs.length > 0 && state !== 'stopped') ?? [];
  return (
    <Empty>
      The running probes reported no problem in the last hour
      {sources.length > 0 ? ` (${sources.map(({ name }) => name).join(', ')})` : ''}. New events appear automatically.
    </Empty>
  );
}

function Bounds({ store: { log }, shown }: { store: Store; shown: number }): JSX.Element {
  return (
    <p class="quiet">
      {count(shown)} of {count(log.events.length)} events shown. The page started with the events of the last hour that
      the agent still had.
      {log.leftOut > 0 &&
        ` ${count(log.leftOut)} events were removed because the page keeps at most ${EVENTS_MAX}, with an equal share for each Pod; events that match the filters are removed last.`}
      {log.missed > 0 && ` ${count(log.missed)} events were missed while the page was not connected.`}
    </p>
  );
}
