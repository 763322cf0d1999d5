import type { Request, Response } from 'express';
import { nearest } from '#config/faults.ts';
import type { EventBus, NumberedLine } from '#events/bus.ts';
import { formatTimeNs } from '#events/envelope.ts';
import { type EventFilter, matches } from '#events/filter.ts';
import { PROBES } from '#probes/index.ts';

const FOLLOWERS_MAX = 16;
/** A client that does not read must not make us keep its events. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Comments keep proxies from closing a stream where nothing happens. */
const KEEPALIVE_MS = 15_000;

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';

interface Wish {
  readonly filter: EventFilter;
  /** Of those that were, only so many of the newest. */
  readonly last: number;
  readonly follow: boolean;
  readonly ndjson: boolean;
}

/** `/api/v1/events`: server-sent events, or one JSON object a line with `Accept: application/x-ndjson`. */
export function serveEvents(bus: EventBus, request: Request, response: Response): void {
  const wish = readWish(request);
  if ('error' in wish) {
    response.status(400).json(wish);
    return;
  }
  if (wish.follow && bus.followers >= FOLLOWERS_MAX) {
    response.status(503).json({ error: `${FOLLOWERS_MAX} clients follow already` });
    return;
  }
  response.set('Content-Type', wish.ndjson ? NDJSON : SSE);
  response.set('Cache-Control', 'no-store');
  const send = (events: readonly NumberedLine[]) => {
    const text = events
      .filter(({ record }) => matches(record, wish.filter))
      .map((line) => (wish.ndjson ? `${line.json}\n` : frame(line, bus.run)));
    if (text.length > 0) response.write(text.join(''));
  };
  response.flushHeaders();
  const seen = readLastEventId(request, bus.run);
  if (seen !== undefined) send(bus.history({ ...wish.filter, since: undefined }, seen));
  // What is there is of interest to who does not follow, and to who says since when.
  else if (!wish.follow || wish.filter.since !== undefined) send(lastOf(bus.history(wish.filter), wish.last));
  if (wish.follow) follow(bus, response, send, wish.ndjson);
  else response.end();
}

function frame({ record, json, number }: NumberedLine, run: string): string {
  return `id: ${run}-${number}\nevent: ${record.type}\ndata: ${json}\n\n`;
}

/** Number of the last event that a client has which comes back; undefined where it is new, or was with another run of the agent. */
function readLastEventId(request: Request, run: string): number | undefined {
  const [, ofRun, number] = /^([0-9a-z]+)-(\d{1,15})$/.exec(request.get('last-event-id') ?? '') ?? [];
  return ofRun === run ? Number(number) : undefined;
}

function lastOf<T>(items: readonly T[], count: number): readonly T[] {
  return items.slice(Math.max(0, items.length - count));
}

function follow(
  bus: EventBus,
  response: Response,
  send: (events: readonly NumberedLine[]) => void,
  ndjson: boolean,
): void {
  const subscription = bus.follow((events) => {
    send(events);
    if (response.writableLength > UNREAD_BYTES_MAX) response.destroy();
  });
  const timer = ndjson ? undefined : setInterval(() => response.write(': nothing new\n\n'), KEEPALIVE_MS);
  response.on('close', () => {
    subscription[Symbol.dispose]();
    clearInterval(timer);
  });
}

const PARAMETERS = ['probe', 'type', 'namespace', 'pod', 'since', 'last', 'follow'];

function readWish(request: Request): Wish | { error: string } {
  const { query } = request;
  const unknown = Object.keys(query).find((key) => !PARAMETERS.includes(key));
  if (unknown !== undefined) return { error: `no such parameter: ${unknown}; there are ${PARAMETERS.join(', ')}` };
  const twice = Object.keys(query).find((key) => typeof query[key] !== 'string');
  if (twice !== undefined) return { error: `${twice} is there more than once; give probe=a,b for several` };
  const wrong = wrongName('probe', query) ?? wrongName('type', query);
  if (wrong !== undefined) return { error: wrong };
  const text = (key: string) => (typeof query[key] === 'string' ? query[key] : undefined);
  const list = (key: string) => text(key)?.split(',');
  const ndjson = request.accepts([SSE, NDJSON]) === NDJSON;
  const followText = text('follow') ?? (ndjson ? 'false' : 'true');
  if (!['true', 'false'].includes(followText)) return { error: `follow: ${followText} is neither true nor false` };
  const since = text('since');
  const sinceTime = since === undefined ? undefined : parseSince(since);
  if (sinceTime === null) return { error: `since: ${since} is neither a duration (10m) nor a time (RFC 3339)` };
  const last = text('last');
  if (last !== undefined && !/^\d{1,6}$/.test(last)) return { error: `last: ${last} is not a number of events` };
  return {
    last: last === undefined ? Number.POSITIVE_INFINITY : Number(last),
    filter: {
      probe: list('probe'),
      type: list('type'),
      namespace: text('namespace'),
      pod: text('pod'),
      since: sinceTime,
    },
    follow: followText === 'true' && request.method === 'GET',
    ndjson,
  };
}

const NAMES: Readonly<Record<'probe' | 'type', readonly string[]>> = {
  probe: PROBES.filter(({ events }) => Object.keys(events).length > 0).map(({ name }) => name),
  type: PROBES.flatMap(({ events }) => Object.keys(events)),
};

/** A slip of the pen must not look as if nothing had happened. */
function wrongName(key: 'probe' | 'type', query: Request['query']): string | undefined {
  const given = typeof query[key] === 'string' ? query[key].split(',') : [];
  const wrong = given.find((name) => !NAMES[key].includes(name));
  if (wrong === undefined) return undefined;
  const near = nearest(wrong, NAMES[key]);
  const guess = near === undefined ? '' : ` (did you mean ${near}?)`;
  return `${key}: ${wrong} is none${guess}; there are: ${NAMES[key].join(', ')}`;
}

const NANOSECONDS_PER_MS = 1_000_000n;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** `10m`, or a time; null where it is neither. */
function parseSince(text: string): string | null {
  const duration = /^(\d{1,6})([smh])$/.exec(text);
  const unit = UNIT_MS[duration?.[2] ?? ''];
  const atMs = duration !== null && unit !== undefined ? Date.now() - Number(duration[1]) * unit : Date.parse(text);
  // As many digits as the time of an event has: they compare as texts.
  return Number.isNaN(atMs) ? null : formatTimeNs(BigInt(atMs) * NANOSECONDS_PER_MS);
}
