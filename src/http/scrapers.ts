import type { Socket } from 'node:net';
import { HOLD_MAX_MS } from '#collectors/births.ts';
import { ownerOf } from './peer.ts';

/** Assumed interval, in milliseconds, of a scraper whose interval is not known yet: the default of Prometheus. */
const UNKNOWN_MS = 60_000;
/** Number of gaps from which an interval is determined, and the number that is sufficient. */
const GAPS = 4;
const GAPS_MIN = 2;
/** Largest difference between the gaps of one scraper, as a share and as a time. */
const JITTER = 0.05;
const JITTER_MS = 250;
/** Number of intervals after a start, up to UNKNOWN_MS in total, for which others are waited for that may not have come yet. */
const INTERVALS_AT_START = 10;
/** Number of connections that are remembered. */
const CONNECTIONS_MAX = 64;

/** Times at which a page was written: the kernel thread's part and the main thread's part, each by the clock of its thread. */
export interface Written {
  /** Number of the kernel thread: each has its own clock, and its own rows. */
  readonly thread: number;
  readonly kernelMs: number;
  readonly agentMs: number;
}

/** Rule by which a new row is shown, as `ScraperView` says. */
export interface Hold {
  readonly holdMs: number;
  /** Last page that every scraper has had since. */
  readonly seen: Written | undefined;
}

/** Key of a connection, the same object for all its requests: a socket. */
export type Peer = Pick<Socket, 'remoteAddress'> & Partial<Pick<Socket, 'destroyed'>>;

interface Connection {
  /** Address of the client. */
  readonly owner: string;
  /** Whether it may be a scraper from before the start, which is waited for. */
  readonly isEarly: boolean;
  /** Times of its scrapes, the latest last. */
  readonly times: readonly number[];
  /** Last page that it received as a whole. */
  written: Written | undefined;
}

/**
 * Learns how often scrapers come, so that each sees a new row at 0 before its value. Scrapers have no identity: two servers of one
 * address differ only in their connections, which Prometheus keeps open. A connection whose scrapes come at regular times is one
 * scraper; otherwise it is shared by several, as behind a proxy: all of them are assumed to have come once in {@link GAPS} scrapes.
 *
 * Any client can claim to be a scraper. A client that has come once is not waited for yet: it misses as much as a scraper that begins
 * one interval later. A connection counts from its second scrape on; so do, where there are several, the connections of an address
 * that were used once: they are a scraper that makes a new connection each time. Until the interval of such a scraper is known, it is
 * assumed to be one minute.
 */
export class Scrapers {
  /** Interval of every scraper, in milliseconds, where the configuration gives it. */
  intervalMs: number | undefined;
  readonly #now: () => number;
  readonly #startMs: number;
  readonly #connections = new Map<Peer, Connection>();
  /** Time at which a connection was last forgotten for lack of room. */
  #crowdedMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startMs = now();
  }

  /**
   * Notes a scrape.
   * @param thread number of the kernel thread: pages of another thread say nothing about the rows of this one
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
    // A scraper that has closed the connection may not have received the page.
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

  /** Notes that the whole page was sent. */
  served(connection: Peer, written: Written): void {
    const known = this.#connections.get(connection);
    if (known !== undefined) known.written = written;
  }

  /** Returns the scrapers that are waited for. */
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

  /** Returns whether other scrapers may not have come yet. */
  #isEarly(nowMs: number): boolean {
    return this.#isStarting(nowMs, longestOf(this.#scrapers().map(([, { times }]) => intervalOf(times))));
  }

  /** Forgets a connection that is not a scraper's, else the one that was used longest ago: then a scraper may be forgotten. @param newest stays */
  #forgetOne(newest: Peer, nowMs: number): void {
    const scrapers = this.#scrapers().map(([connection]) => connection);
    const others = [...this.#connections.keys()].filter((connection) => connection !== newest);
    const stranger = others.find((connection) => !scrapers.includes(connection));
    const gone = stranger ?? others[0];
    if (gone !== undefined) this.#connections.delete(gone);
    if (stranger === undefined) this.#crowdedMs = nowMs;
  }
}

/** Returns undefined where one has had no page of the thread yet. */
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

/** Returns the longest interval; a minute where there is none, or one is not known. */
function longestOf(intervals: readonly (Interval | undefined)[]): number {
  return intervals.length === 0 ? UNKNOWN_MS : Math.max(...intervals.map((interval) => interval?.ms ?? UNKNOWN_MS));
}

/** Returns undefined while the interval is not known. */
function intervalOf(times: readonly number[]): Interval | undefined {
  const gaps = times.slice(1).map((time, index) => time - (times[index] as number));
  if (gaps.length < GAPS_MIN) return undefined;
  const longest = Math.max(...gaps);
  if (longest - Math.min(...gaps) <= JITTER * longest + JITTER_MS) return { ms: longest, isRegular: true };
  return gaps.length < GAPS ? undefined : { ms: gaps.reduce((sum, gap) => sum + gap, 0), isRegular: false };
}

/** Allows for a scrape that comes late and takes its time, and for one failure where they come each second. */
function holdOf(intervalMs: number): number {
  return Math.min(HOLD_MAX_MS, 1.25 * intervalMs + 2_000);
}
