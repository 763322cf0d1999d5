import type { Socket } from 'node:net';
import { HOLD_MAX_MS } from '#collectors/births.ts';
import { ownerOf } from './peer.ts';

/** Interval in milliseconds that is assumed while a scraper's interval is unknown. It is the default of Prometheus. */
const UNKNOWN_MS = 60_000;
/**
 * Number of gaps between scrapes that are needed to measure an interval. {@link GAPS_MIN} gaps are enough if they are
 * regular.
 */
const GAPS = 4;
const GAPS_MIN = 2;
/** Maximum difference between gaps that count as regular: this fraction of the longest gap, plus {@link JITTER_MS}. */
const JITTER = 0.05;
const JITTER_MS = 250;
/**
 * Number of scrape intervals after the start of the agent (at most UNKNOWN_MS in total) during which some scrapers may
 * not have scraped yet.
 */
const INTERVALS_AT_START = 10;
/** Maximum number of connections to remember. */
const CONNECTIONS_MAX = 64;

/**
 * Times at which the two parts of a page were written, each in milliseconds of the clock of the thread that wrote it.
 */
export interface Written {
  /** Number of the kernel thread. Each kernel thread has its own clock and series. */
  readonly thread: number;
  readonly kernelMs: number;
  readonly agentMs: number;
}

/** How new series are held back; see `ScraperView`. */
export interface Hold {
  readonly holdMs: number;
  /** The oldest among the pages that each scraper received last; undefined if unknown. */
  readonly seen: Written | undefined;
}

/**
 * The socket of a connection. All requests on a connection have the same socket object, so it identifies the
 * connection.
 */
export type Peer = Pick<Socket, 'remoteAddress'> & Partial<Pick<Socket, 'destroyed'>>;

interface Connection {
  /** Address of the client; see `ownerOf`. */
  readonly owner: string;
  /**
   * Whether the client may be a scraper that existed before the agent started. If so, it counts as a scraper from its
   * first scrape onward.
   */
  readonly isEarly: boolean;
  /** Times of the client's latest scrapes, in ascending order. */
  readonly times: readonly number[];
  /** Last page that the client has received completely. */
  written: Written | undefined;
}

/**
 * Measures the scrape interval, so that every scraper sees a new series at 0 before its first value. Scrapers do not
 * identify themselves. Two Prometheus servers behind one address differ only in their connections, which they keep
 * open. Regular scrapes on one connection come from a single scraper. Irregular scrapes are attributed to several
 * scrapers that share the connection, for example through a proxy. Each of them is assumed to account for one in
 * {@link GAPS} scrapes.
 *
 * Any client can claim to be a scraper, so a client counts as a scraper only from its second scrape onward. Several
 * connections from one address that were each used only once count as a scraper that opens a new connection for each
 * scrape. Its interval is assumed to be a minute.
 */
export class Scrapers {
  /** Interval of every scraper in milliseconds, if configured. */
  intervalMs: number | undefined;
  readonly #now: () => number;
  readonly #startMs: number;
  readonly #connections = new Map<Peer, Connection>();
  /** Time when a scraper's connection was last forgotten because too many connections were remembered. */
  #crowdedMs = Number.NEGATIVE_INFINITY;

  /** @param now returns milliseconds of a monotonic clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startMs = now();
  }

  /**
   * Records a scrape. Returns how new series are held back on its page.
   * @param thread number of the kernel thread; pages of earlier threads do not count, because their series differ
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
    // A scraper that has closed its connection may not have received the page.
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

  /** Records that a page was sent completely. */
  served(connection: Peer, written: Written): void {
    const known = this.#connections.get(connection);
    if (known !== undefined) known.written = written;
  }

  /** Returns the connections that count as scrapers. */
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

  /** Whether scrapers that existed before the agent started may not have scraped yet. */
  #isEarly(nowMs: number): boolean {
    return this.#isStarting(nowMs, longestOf(this.#scrapers().map(([, { times }]) => intervalOf(times))));
  }

  /**
   * Forgets one connection, preferably one that does not belong to a scraper, otherwise the least recently used one.
   * @param newest the connection to keep
   */
  #forgetOne(newest: Peer, nowMs: number): void {
    const scrapers = this.#scrapers().map(([connection]) => connection);
    const others = [...this.#connections.keys()].filter((connection) => connection !== newest);
    const stranger = others.find((connection) => !scrapers.includes(connection));
    const gone = stranger ?? others[0];
    if (gone !== undefined) this.#connections.delete(gone);
    if (stranger === undefined) this.#crowdedMs = nowMs;
  }
}

/**
 * Returns the oldest among the pages that each connection received last; undefined if a connection has not received a
 * page of this thread.
 */
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

/** Returns the longest interval. Each unknown interval counts as a minute, and so does an empty list. */
function longestOf(intervals: readonly (Interval | undefined)[]): number {
  return intervals.length === 0 ? UNKNOWN_MS : Math.max(...intervals.map((interval) => interval?.ms ?? UNKNOWN_MS));
}

/** Returns undefined while the interval is unknown. */
function intervalOf(times: readonly number[]): Interval | undefined {
  const gaps = times.slice(1).map((time, index) => time - (times[index] as number));
  if (gaps.length < GAPS_MIN) return undefined;
  const longest = Math.max(...gaps);
  if (longest - Math.min(...gaps) <= JITTER * longest + JITTER_MS) return { ms: longest, isRegular: true };
  return gaps.length < GAPS ? undefined : { ms: gaps.reduce((sum, gap) => sum + gap, 0), isRegular: false };
}

/** Adds time for a late or slow scrape. With an interval of one second, the time also covers a failed scrape. */
function holdOf(intervalMs: number): number {
  return Math.min(HOLD_MAX_MS, 1.25 * intervalMs + 2_000);
}
