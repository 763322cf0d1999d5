import type { Request, Response } from 'express';
import type { EventRecord } from '#api/events.ts';
import { EVENTS_QUERY, type EventsQuery, parseSince } from '#api/events_query.ts';
import { nearest } from '#config/faults.ts';
import type { RecordBus } from '#events/bus.ts';
import { type EventFilter, matches } from '#events/filter.ts';
import { PROBES } from '#probes/index.ts';
import { sendFailure } from './failure.ts';
import { isFailure, readQuery } from './query.ts';
import { recordTimeText, type StreamDeps, serveStream } from './stream.ts';

export interface EventStreamDeps extends StreamDeps {
  readonly bus: RecordBus<EventRecord>;
}

/** Serves `/api/v1/events`. */
export function serveEvents(deps: EventStreamDeps, request: Request, response: Response): void {
  const query = readQuery(EVENTS_QUERY, request);
  const fault = isFailure(query) ? query.error : (wrongName('probe', query) ?? wrongName('type', query));
  if (isFailure(query) || fault !== undefined) {
    sendFailure(response, 400, fault ?? '');
    return;
  }
  const filter = filterOf(query);
  serveStream(deps.bus, deps, request, response, {
    last: query.last,
    follow: query.follow,
    hasStart: query.since !== undefined,
    matches: (event) => matches(event, filter),
    nameOf: ({ type }) => type,
  });
}

function filterOf({ probe, type, namespace, pod, connectionId, since }: EventsQuery): EventFilter {
  return {
    probe: probe?.split(','),
    type: type?.split(','),
    namespace,
    pod,
    connectionId: connectionId?.split(','),
    since: since === undefined ? undefined : recordTimeText(parseSince(since, Date.now())),
  };
}

const NAMES: Readonly<Record<'probe' | 'type', readonly string[]>> = {
  probe: PROBES.filter(({ events }) => Object.keys(events).length > 0).map(({ name }) => name),
  type: PROBES.flatMap(({ events }) => Object.keys(events)),
};

/** Returns an error for an unknown probe or type, because a typo would otherwise look as if there were no events. */
function wrongName(key: 'probe' | 'type', query: EventsQuery): string | undefined {
  const wrong = query[key]?.split(',').find((name) => !NAMES[key].includes(name));
  if (wrong === undefined) return undefined;
  const near = nearest(wrong, NAMES[key]);
  const guess = near === undefined ? '' : ` (did you mean ${near}?)`;
  return `no such ${key}: ${wrong}${guess}; there are: ${NAMES[key].join(', ')}`;
}
