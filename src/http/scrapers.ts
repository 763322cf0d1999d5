import type { Socket } from 'node:net';
import { HOLD_MAX_MS } from '#collectors/births.ts';
import { ownerOf } from './peer.ts';

/** Of a scraper whose interval is not known yet: the default of Prometheus. */
const UNKNOWN_MS = 60_000;
/** Gaps by which an interval is judged, and how many are enough. */
const GAPS = 4;
const GAPS_MIN = 2;
/** Gaps of one scraper differ by no more than this share, and this time. */
const JITTER = 0.05;
const JITTER_MS = 250;
/** After a start others may not have come yet: so many intervals of those that have are waited for, up to UNKNOWN_MS. */
const INTERVALS_AT_START = 10;
/** Connections that are remembered. */
const CONNECTIONS_MAX = 64;

/** When a page was written: its part of the kernel thread and its part of the main thread, each by the clock of its thread. */
export interface Written {
  /** Which kernel thread it was: each has a clock of its own, and rows of its own. */
  readonly thread: number;
  readonly kernelMs: number;
  readonly agentMs: number;
}

/** What a new row is to be shown by, as `ScraperView` says. */
export interface Hold {
  readonly holdMs: number;
  /** The pages that every scraper has had since. */
  readonly seen: Written | undefined;
}

/** The same object for all requests that come over it: a socket. */
export type Peer = Pick<Socket, 'remoteAddress'> & Partial<Pick<Socket, 'destroyed'>>;

interface Connection {
  /** The address behind it. */
  readonly owner: string;
  /** Somebody who was there at the start is waited for. */
  readonly isEarly: boolean;
  /** When scrapes came, the latest last. */
  readonly times: readonly number[];
  /** The last page that it was given whole. */
  written: Written | undefined;
}

/**
 * Learns how often scrapers come, so that each sees a new row at 0 before its value. Who they are is not known: two servers of one
 * address differ in nothing but their connections, which Prometheus keeps open. A connection whose scrapes come at regular
 * times is one scraper; one where they do not is shared by several, as behind a proxy: all of them are taken to have come
 * once in {@link GAPS} scrapes.
 *
 * Anybody can say that he is a scraper. Who has come once is not waited for yet: he misses what a scraper misses that begins one interval later. A
 * connection counts from its second scrape on; and those of an address that were used once, where there are several of them: a scraper that
 * connects anew each time. Until it is known how often such a one comes, he comes once a minute.
 */
export class Scrapers {
  /** The interval of every scraper, in milliseconds, where the configuration says it. */
  intervalMs: number | undefined;
  readonly #now: () => number;
  readonly #startMs: number;
  readonly #connections = new Map<Peer, Connection>();
  /** When a connection was last forgotten for want of room. */
  #crowdedMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startMs = now();
  }

  /**
   * Notes a scrape.
   * @param thread counts the kernel threads: what another one has shown says nothing of this one's rows
   */
  asked(connection: Peer, thread: number): Hold {
    const nowMs = this.#now();
    this.#note(connection, nowMs);
    if (this.intervalMs !== undefined) return { holdMs: holdOf(this.intervalMs), seen: undefined };
    const scrapers = this.#scrapers();
    const intervals = scrapers.map(([, { times }]) => intervalOf(times));
    const longest = longestOf(intervals);
    const isCrowded = nowMs - this.#crowdedMs < HOLD_MAX_MS;
    if (this.#isStarting(nowMs, longest) || isCrowded)
      return { holdMs: holdOf(Math.max(longest, UNKNOWN_MS)), seen: undefined };
    // Who has closed the connection may not have taken the page.
    const isThere = scrapers.every(([{ destroyed }]) => destroyed !== true);
    const isEachOne = isThere && intervals.every((interval) => interval?.isRegular === true);
    return {
      holdMs: holdOf(longest),
      seen: isEachOne
        ? oldestOf(
            scrapers.map(([, each]) => each),
            thread,
          )
        : undefined,
    };
  }

  /** The page was given whole. */
  served(connection: Peer, written: Written): void {
    const known = this.#connections.get(connection);
    if (known !== undefined) known.written = written;
  }

  /** Whose scrapes are waited for. */
  #scrapers(): [Peer, Connection][] {
    const onces = new Map<string, number>();
    for (const { owner, times } of this.#connections.values())
      if (times.length === 1) onces.set(owner, (onces.get(owner) ?? 0) + 1);
    return [...this.#connections].filter(
      ([, { isEarly, owner, times }]) => isEarly || times.length > 1 || (onces.get(owner) ?? 0) > 1,
    );
  }

  #isStarting(nowMs: number, longestMs: number): boolean {
    return nowMs - this.#startMs < Math.min(UNKNOWN_MS, INTERVALS_AT_START * longestMs);
  }

  #note(connection: Peer, nowMs: number): void {
    const known = this.#connections.get(connection);
    const times = [...(known?.times ?? []), nowMs].slice(-GAPS - 1);
    const { owner, isEarly } = known ?? { owner: ownerOf(connection as Socket), isEarly: this.#isEarly(nowMs) };
    this.#connections.delete(connection);
    this.#connections.set(connection, { owner, isEarly, times, written: known?.written });
    for (const [other, { times: visits }] of this.#connections) {
      const untilMs = (visits.at(-1) ?? 0) + (visits.length > GAPS_MIN ? HOLD_MAX_MS : holdOf(UNKNOWN_MS));
      if (untilMs < nowMs) this.#connections.delete(other);
    }
    if (this.#connections.size > CONNECTIONS_MAX) this.#forgetOne(connection, nowMs);
  }

  /** Whether others may not have come yet. */
  #isEarly(nowMs: number): boolean {
    return this.#isStarting(nowMs, longestOf(this.#scrapers().map(([, { times }]) => intervalOf(times))));
  }

  /** One of a stranger, else the one that is longest away: then a scraper may be forgotten. @param newest stays */
  #forgetOne(newest: Peer, nowMs: number): void {
    const scrapers = this.#scrapers().map(([connection]) => connection);
    const others = [...this.#connections.keys()].filter((connection) => connection !== newest);
    const stranger = others.find((connection) => !scrapers.includes(connection));
    const gone = stranger ?? others[0];
    if (gone !== undefined) this.#connections.delete(gone);
    if (stranger === undefined) this.#crowdedMs = nowMs;
  }
}

/** Undefined where one has had no page of the thread yet. */
function oldestOf(connections: readonly Connection[], thread: number): Written | undefined {
  const pages = connections.flatMap(({ written }) => (written?.thread === thread ? [written] : []));
  if (pages.length < connections.length) return undefined;
  return {
    thread,
    kernelMs: Math.min(...pages.map(({ kernelMs }) => kernelMs)),
    agentMs: Math.min(...pages.map(({ agentMs }) => agentMs)),
  };
}

interface Interval {
  readonly ms: number;
  readonly isRegular: boolean;
}

/** Of nobody, and of somebody who is not known: a minute. */
function longestOf(intervals: readonly (Interval | undefined)[]): number {
  return intervals.length === 0 ? UNKNOWN_MS : Math.max(...intervals.map((interval) => interval?.ms ?? UNKNOWN_MS));
}

/** Undefined while it is not known. */
function intervalOf(times: readonly number[]): Interval | undefined {
  const gaps = times.slice(1).map((time, index) => time - (times[index] as number));
  if (gaps.length < GAPS_MIN) return undefined;
  const longest = Math.max(...gaps);
  if (longest - Math.min(...gaps) <= JITTER * longest + JITTER_MS) return { ms: longest, isRegular: true };
  return gaps.length < GAPS ? undefined : { ms: gaps.reduce((sum, gap) => sum + gap, 0), isRegular: false };
}

/** A scrape may come late and take its time, and one a second may fail. */
function holdOf(intervalMs: number): number {
  return Math.min(HOLD_MAX_MS, 1.25 * intervalMs + 2_000);
}
