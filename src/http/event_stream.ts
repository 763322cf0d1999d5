import type { Request, Response } from 'express';
import type * as z from 'zod';
import type { Failure } from '#api/errors.ts';
import { EVENTS_QUERY, type EventsQuery, parseSince } from '#api/events_query.ts';
import { nearest } from '#config/faults.ts';
import type { EventBus, PublishedEvent } from '#events/bus.ts';
import { formatTimeNs } from '#events/envelope.ts';
import { type EventFilter, matches } from '#events/filter.ts';
import { PROBES } from '#probes/index.ts';
import { sendFailure } from './failure.ts';
import type { Followers } from './followers.ts';
import type { Refusals } from './refusals.ts';

/** Maximum size of events that a client has not read. A client with more is disconnected. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Milliseconds between comments, which keep proxies from closing an idle stream. */
const KEEPALIVE_MS = 15_000;

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';

interface EventQuery {
  readonly filter: EventFilter;
  /** Maximum number of past events to send; the newest are chosen. */
  readonly last: number;
  readonly follow: boolean;
  readonly ndjson: boolean;
}

export interface EventStreamDeps {
  readonly bus: EventBus;
  readonly followers: Followers;
  readonly refusals: Refusals;
}

/** Serves `/api/v1/events` as server-sent events or, with `Accept: application/x-ndjson`, as JSON lines. */
export function serveEvents({ bus, followers, refusals }: EventStreamDeps, request: Request, response: Response): void {
  const wish = readEventQuery(request);
  if ('error' in wish) {
    sendFailure(response, 400, wish.error);
    return;
  }
  response.set('Content-Type', wish.ndjson ? NDJSON : SSE);
  response.set('Cache-Control', 'no-store');
  const send = (events: readonly PublishedEvent[]) => {
    const text = events
      .filter(({ event }) => matches(event, wish.filter))
      .map((published) => (wish.ndjson ? `${published.json}\n` : frame(published, bus.run)));
    if (text.length > 0) response.write(text.join(''));
  };
  response.flushHeaders();
  const seen = readLastEventId(request, bus.run);
  if (seen !== undefined) send(bus.history({ ...wish.filter, since: undefined }, seen));
  // A client that follows gets past events only if it asks for them with `since`.
  else if (!wish.follow || wish.filter.since !== undefined) send(lastOf(bus.history(wish.filter), wish.last));
  if (!wish.follow) {
    response.end();
    return;
  }
  followers.add(response);
  follow(bus, refusals, response, send, wish.ndjson);
}

function frame({ event, json, number }: PublishedEvent, run: string): string {
  return `id: ${run}-${number}\nevent: ${event.type}\ndata: ${json}\n\n`;
}

/** Returns the number of the last event that the client has; undefined for a new client or one of another run of the agent. */
function readLastEventId(request: Request, run: string): number | undefined {
  const [, ofRun, number] = /^([0-9a-z]+)-(\d{1,15})$/.exec(request.get('last-event-id') ?? '') ?? [];
  return ofRun === run ? Number(number) : undefined;
}

function lastOf<T>(items: readonly T[], count: number): readonly T[] {
  return items.slice(Math.max(0, items.length - count));
}

function follow(
  bus: EventBus,
  refusals: Refusals,
  response: Response,
  send: (events: readonly PublishedEvent[]) => void,
  ndjson: boolean,
): void {
  const subscription = bus.follow((events) => {
    send(events);
    if (response.writableLength <= UNREAD_BYTES_MAX) return;
    refusals.count('unread');
    response.destroy();
  });
  const timer = ndjson ? undefined : setInterval(() => response.write(': nothing new\n\n'), KEEPALIVE_MS);
  response.on('close', () => {
    subscription[Symbol.dispose]();
    clearInterval(timer);
  });
}

function readEventQuery(request: Request): EventQuery | Failure {
  const { success, data: query, error } = EVENTS_QUERY.safeParse(request.query);
  if (!success) return { error: faultOf(error) };
  const wrong = wrongName('probe', query) ?? wrongName('type', query);
  if (wrong !== undefined) return { error: wrong };
  const { probe, type, namespace, pod, since, last, follow } = query;
  const ndjson = request.accepts([SSE, NDJSON]) === NDJSON;
  return {
    last: last === undefined ? Number.POSITIVE_INFINITY : Number(last),
    filter: {
      probe: probe?.split(','),
      type: type?.split(','),
      namespace,
      pod,
      since: since === undefined ? undefined : timeText(parseSince(since, Date.now())),
    },
    follow: (follow ?? String(!ndjson)) === 'true' && request.method === 'GET',
    ndjson,
  };
}

/** Returns the first error; unknown parameters come before invalid values. */
function faultOf({ issues }: z.ZodError): string {
  const [unknown] = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  if (unknown === undefined) return issues[0]?.message ?? '';
  return `no such parameter: ${unknown}; there are ${Object.keys(EVENTS_QUERY.shape).join(', ')}`;
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

const NANOSECONDS_PER_MS = 1_000_000n;
/** Formats a time with the precision of event times, with which it is compared as text. */
function timeText(ms: number): string {
  return formatTimeNs(BigInt(ms) * NANOSECONDS_PER_MS);
}
