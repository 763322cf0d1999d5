import type { Request, Response } from 'express';
import type { Peer } from '#api/events.ts';
import { parseSince } from '#api/events_query.ts';
import type { Incident, IncidentsReport } from '#api/incidents.ts';
import { INCIDENT_STREAM_QUERY, INCIDENTS_QUERY, type IncidentsQuery } from '#api/incidents_query.ts';
import type { RecordBus } from '#events/bus.ts';
import type { Incidents } from '#events/incidents/incidents.ts';
import { sendFailure } from './failure.ts';
import { isFailure, readQuery } from './query.ts';
import { recordTimeText, type StreamDeps, serveStream } from './stream.ts';

export interface IncidentDeps {
  /** Records of incidents. */
  readonly bus: RecordBus<Incident>;
  readonly current: Pick<Incidents, 'list' | 'open' | 'totals' | 'leftOut'>;
}

/** Serves `/api/v1/incidents`. */
export function serveIncidents({ bus, current }: IncidentDeps, request: Request, response: Response): void {
  const query = readQuery(INCIDENTS_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  const latest = ({ lastTime }: Incident, other: Incident) => (lastTime < other.lastTime ? 1 : -1);
  const open = current.list();
  const ids = new Set(open.map(({ id }) => id));
  const ended = bus.history(({ state, id }) => state === 'ended' && !ids.has(id)).map(({ value }) => value);
  const matches = matcherOf(query);
  response.json({
    open: current.open,
    incidents: [...open.sort(latest), ...ended.sort(latest)].filter(matches),
  } satisfies IncidentsReport);
}

/** Serves `/api/v1/incidents/stream`. */
export function serveIncidentStream(
  deps: StreamDeps & { readonly incidents: IncidentDeps },
  request: Request,
  response: Response,
): void {
  const query = readQuery(INCIDENT_STREAM_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  serveStream(deps.incidents.bus, deps, request, response, {
    last: query.last,
    follow: query.follow,
    hasStart: query.since !== undefined,
    matches: matcherOf(query),
    nameOf: () => 'incident',
  });
}

function matcherOf({ namespace, pod, cause, since }: IncidentsQuery): (incident: Incident) => boolean {
  const oldest = since === undefined ? '' : recordTimeText(parseSince(since, Date.now()));
  return (incident) =>
    (cause === undefined || incident.cause === cause) &&
    incident.lastTime >= oldest &&
    placesOf(incident).some(
      (place) =>
        (namespace === undefined || place.namespace === namespace) && (pod === undefined || place.name === pod),
    );
}

/** Returns the Pod that saw the cause, and both ends. */
function placesOf({ namespace, pod, client, server }: Incident): readonly Partial<Pick<Peer, 'namespace' | 'name'>>[] {
  return [
    { ...(namespace === null ? {} : { namespace }), ...(pod === null ? {} : { name: pod }) },
    ...[client, server].filter((peer) => peer !== undefined),
  ];
}
