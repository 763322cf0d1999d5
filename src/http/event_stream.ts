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

/** Bytes that a client may leave unread: a client that does not read must not make us keep its events. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Milliseconds between comments, which keep proxies from closing a stream without events. */
const KEEPALIVE_MS = 15_000;

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';

interface EventQuery {
  readonly filter: EventFilter;
  /** Caps how many past events are returned; newest first. */
  readonly last: number;
  readonly follow: boolean;
  readonly ndjson: boolean;
}

export interface EventStreamDeps {
  readonly bus: EventBus;
  readonly followers: Followers;
  readonly refusals: Refusals;
}

/** Serves `/api/v1/events`: server-sent events, or one JSON object a line with `Accept: application/x-ndjson`. */
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
  // Past events are sent to clients that do not follow, and to those that give a start time.
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

/** Number of the last event that a returning client has; undefined where the client is new, or was connected to another run of the agent. */
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

/** Returns the first fault: an unknown parameter comes before a wrong value. */
function faultOf({ issues }: z.ZodError): string {
  const [unknown] = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  if (unknown === undefined) return issues[0]?.message ?? '';
  return `no such parameter: ${unknown}; there are ${Object.keys(EVENTS_QUERY.shape).join(', ')}`;
}

const NAMES: Readonly<Record<'probe' | 'type', readonly string[]>> = {
  probe: PROBES.filter(({ events }) => Object.keys(events).length > 0).map(({ name }) => name),
  type: PROBES.flatMap(({ events }) => Object.keys(events)),
};

/** Rejects an unknown name: a typing error must not look as if nothing had happened. */
function wrongName(key: 'probe' | 'type', query: EventsQuery): string | undefined {
  const wrong = query[key]?.split(',').find((name) => !NAMES[key].includes(name));
  if (wrong === undefined) return undefined;
  const near = nearest(wrong, NAMES[key]);
  const guess = near === undefined ? '' : ` (did you mean ${near}?)`;
  return `no such ${key}: ${wrong}${guess}; there are: ${NAMES[key].join(', ')}`;
}

const NANOSECONDS_PER_MS = 1_000_000n;
/** Formats a time with as many digits as the time of an event has: they compare as texts. */
function timeText(ms: number): string {
  return formatTimeNs(BigInt(ms) * NANOSECONDS_PER_MS);
}
