import type { Request, Response } from 'express';
import { formatTimeNs } from '#core/kernel_time.ts';
import type { Published, RecordBus } from '#events/bus.ts';
import type { Followers } from './followers.ts';
import type { Refusals } from './refusals.ts';

/**
 * Maximum size in bytes of the records that a client has not read yet. A client that exceeds this limit is
 * disconnected.
 */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Milliseconds between comments, which keep proxies from closing an idle stream. */
const KEEPALIVE_MS = 15_000;

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';

export interface StreamDeps {
  readonly followers: Followers;
  readonly refusals: Refusals;
}

/** Parameters that every stream has. */
interface StreamParameters {
  readonly last?: string | undefined;
  readonly follow?: string | undefined;
}

/** Selection of the records that a client requests. */
export interface StreamQuery<T> extends StreamParameters {
  matches(value: T): boolean;
  /**
   * Whether the client specifies the time of the oldest record to send. If so, it receives past records before new
   * ones.
   */
  readonly hasStart: boolean;
  /** Returns the name of the server-sent event for a record. */
  nameOf(value: T): string;
}

/** Serves the records of a bus as server-sent events or, with `Accept: application/x-ndjson`, as JSON lines. */
export function serveStream<T extends { namespace: string | null; pod: string | null }>(
  bus: RecordBus<T>,
  { followers, refusals }: StreamDeps,
  request: Request,
  response: Response,
  query: StreamQuery<T>,
): void {
  const isNdjson = request.accepts([SSE, NDJSON]) === NDJSON;
  const follows = (query.follow ?? String(!isNdjson)) === 'true' && request.method === 'GET';
  response.set('Content-Type', isNdjson ? NDJSON : SSE);
  response.set('Cache-Control', 'no-store');
  const textOf = (one: Published<T>) => (isNdjson ? `${one.json}\n` : frame(one, bus.run, query.nameOf(one.value)));
  const send = (records: readonly Published<T>[]) => {
    const text = records.filter(({ value }) => query.matches(value)).map(textOf);
    if (text.length > 0) response.write(text.join(''));
  };
  response.flushHeaders();
  const seen = readLastEventId(request, bus.run);
  if (seen !== undefined) send(bus.history(undefined, seen));
  // A client that follows new records receives past ones only if it requests them with `since`.
  else if (!follows || query.hasStart) send(lastOf(bus.history(query.matches), query.last));
  if (!follows) {
    response.end();
    return;
  }
  followers.add(response);
  follow(bus, refusals, response, send, isNdjson);
}

function frame<T>({ json, number }: Published<T>, run: string, name: string): string {
  return `id: ${run}-${number}\nevent: ${name}\ndata: ${json}\n\n`;
}

/**
 * Returns the number of the last record that the client has received. Returns undefined for a new client, or if that
 * record is from another run of the agent.
 */
function readLastEventId(request: Request, run: string): number | undefined {
  const [, ofRun, number] = /^([0-9a-z]+)-(\d{1,15})$/.exec(request.get('last-event-id') ?? '') ?? [];
  return ofRun === run ? Number(number) : undefined;
}

function lastOf<T>(items: readonly T[], count: string | undefined): readonly T[] {
  return count === undefined ? items : items.slice(Math.max(0, items.length - Number(count)));
}

function follow<T extends { namespace: string | null; pod: string | null }>(
  bus: RecordBus<T>,
  refusals: Refusals,
  response: Response,
  send: (records: readonly Published<T>[]) => void,
  isNdjson: boolean,
): void {
  const subscription = bus.follow((records) => {
    send(records);
    if (response.writableLength <= UNREAD_BYTES_MAX) return;
    refusals.count('unread');
    response.destroy();
  });
  const timer = isNdjson ? undefined : setInterval(() => response.write(': nothing new\n\n'), KEEPALIVE_MS);
  response.on('close', () => {
    subscription[Symbol.dispose]();
    clearInterval(timer);
  });
}

const NANOSECONDS_PER_MS = 1_000_000n;
/** Formats a time with the precision of record times, because the two are compared as text. */
export function recordTimeText(ms: number): string {
  return formatTimeNs(BigInt(ms) * NANOSECONDS_PER_MS);
}
