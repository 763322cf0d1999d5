import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Peer } from '#api/events.ts';
import type { Incident } from '#api/incidents.ts';
import type { IncidentCause } from '#api/words.ts';
import { HISTORY_MS } from './flows/history.ts';
import { clock, count, entityName, span } from './format.ts';
import { membersOf } from './incident_members.ts';
import { formatPlace } from './location.ts';
import { requestEvents } from './requests/worst_paths.ts';
import type { Store } from './store.ts';
import { Empty, type ViewProps } from './view.tsx';

/** Maximum number of members that an open row lists. */
const MEMBERS_MAX = 50;

const TITLES: Readonly<Record<IncidentCause, string>> = {
  accept_queue: 'Accept queue is full',
  conntrack_full: 'Connection tracking is full',
  firewall: 'Dropped by a firewall',
  mtu: 'Packets too large',
  route: 'No route',
  full_queue: 'A queue is full',
  other_drop: 'Packets dropped',
  refused: 'Refused',
  reset: 'Reset',
  unreachable: 'Unreachable',
  no_port: 'No local port free',
  no_answer: 'No answer',
  loss: 'Segments lost',
};

export function IncidentsView({ store }: ViewProps): JSX.Element {
  const [opened, open] = useState('');
  const report = store.answers.incidents;
  if (report === undefined) return <Empty>The agent has not sent its list of incidents yet.</Empty>;
  const requests = requestEvents(store.log.events, store.nowMs - HISTORY_MS);
  return (
    <section>
      <h2>Incidents</h2>
      <p class="quiet">
        All events of a client and a port of a server are one incident, named after the cause that explains most of
        them. Open incidents come first, followed by those that have ended. Trouble of requests is no incident:{' '}
        {requests > 0 ? `${count(requests)} events within 5 minutes are about it, see ` : 'it is shown under '}
        <a href={formatPlace({ tab: 'requests', filters: {} })}>Requests</a>.
      </p>
      {report.incidents.length === 0 ? (
        <Empty>No connection is in trouble, and none was since the agent started.</Empty>
      ) : (
        <table class="cards events incidents">
          <thead>
            <tr>
              <th scope="col">Begin</th>
              <th scope="col">Cause</th>
              <th scope="col">From, to</th>
              <th scope="col">What happened</th>
              <th scope="col" class="number">
                Events
              </th>
            </tr>
          </thead>
          <tbody>
            {report.incidents.map((incident) => (
              <IncidentRow
                key={incident.id}
                incident={incident}
                store={store}
                isOpen={incident.id === opened}
                toggle={() => open(opened === incident.id ? '' : incident.id)}
              />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

interface RowProps {
  readonly incident: Incident;
  readonly store: Store;
  /** Whether the members are shown. */
  readonly isOpen: boolean;
  readonly toggle: () => void;
}

const TONES = { info: 'off', warning: 'warn', critical: 'bad' } as const;

function IncidentRow({ incident, store, isOpen, toggle }: RowProps): JSX.Element {
  const { id, state, cause, severity, client, server, src, dst, protocol, message, ports, firstTime, lastTime } =
    incident;
  const details = `members-${id}`;
  const hasEnded = state === 'ended';
  return (
    <>
      <tr class={[hasEnded ? 'dim' : '', isOpen ? 'open' : ''].filter(Boolean).join(' ')}>
        <td data-label="Begin" class="value">
          <button
            type="button"
            class="row"
            aria-expanded={isOpen}
            aria-controls={details}
            title={firstTime}
            onClick={toggle}
          >
            {clock(firstTime)}
          </button>
          <span class="sub quiet">for {span(Date.parse(lastTime) - Date.parse(firstTime))}</span>
        </td>
        <td data-label="Cause">
          <span class={`state ${hasEnded ? 'off' : TONES[severity]}`}>{hasEnded ? 'over' : 'open'}</span>{' '}
          <strong>{TITLES[cause] ?? cause}</strong>
        </td>
        <td data-label="From, to" class="value">
          {endText(client, src)} → {endText(server, dst)}
          <span class="sub quiet">{`${src} → ${dst} ${protocol}`}</span>
        </td>
        <td data-label="What happened">{message}</td>
        <td data-label="Events" class="number value">
          {count(incident.count)}
          {ports > 1 && <span class="sub quiet">{count(ports)} connections</span>}
        </td>
      </tr>
      {isOpen && (
        <tr class="details" id={details}>
          <td colSpan={5}>
            <Members incident={incident} store={store} />
          </td>
        </tr>
      )}
    </>
  );
}

function endText(peer: Peer | undefined, address: string): string {
  return peer === undefined || peer.name === '' ? address : entityName({ namespace: peer.namespace, pod: peer.name });
}

function Members({ incident, store }: { incident: Incident; store: Store }): JSX.Element {
  const members = membersOf(incident, store.log.events);
  const [id = ''] = incident.connectionIds;
  return (
    <div class="scene">
      <dl>
        {Object.entries(incident.events).map(([type, number]) => (
          <div key={type}>
            <dt>{type}</dt>
            <dd class="value">{count(number)}</dd>
          </div>
        ))}
      </dl>
      <ul class="members">
        {members.slice(0, MEMBERS_MAX).map(({ id: number, event }) => (
          <li key={number}>
            <span class="value quiet">{clock(event.time, true)}</span> {entityName(event)}: {event.message}
            {event.count !== undefined && ` (${count(event.count)} times)`}
          </li>
        ))}
      </ul>
      <p class="quiet">
        {members.length > MEMBERS_MAX && `${count(members.length - MEMBERS_MAX)} more events. `}
        <a href={formatPlace({ tab: 'events', filters: { text: id } })}>All events of this connection on this page</a>,
        or <code>netsonde events --connection {id}</code>.
      </p>
    </div>
  );
}
