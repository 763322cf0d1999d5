import { HOLD_MAX_MS } from '#collectors/births.ts';

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
export interface Peer {
  readonly destroyed?: boolean;
}

interface Connection {
  /** When scrapes came, the latest last. */
  readonly times: readonly number[];
  /** The last page that it was given whole. */
  written: Written | undefined;
}

/**
 * Learns how often scrapers come, so that each sees a new row at 0 before its value. Who they are is not known: two servers of one
 * address differ in nothing but their connections, which Prometheus keeps open. A connection whose scrapes come at regular
 * times is one scraper; one where they do not is shared by several, as behind a proxy: all of them are taken to have come
 * once in {@link GAPS} scrapes. One that is not used again is of somebody who comes once a minute.
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
    const known = [...this.#connections.values()];
    const intervals = known.map(({ times }) => intervalOf(times));
    const longest = Math.max(...intervals.map((interval) => interval?.ms ?? UNKNOWN_MS));
    const isStarting = nowMs - this.#startMs < Math.min(UNKNOWN_MS, INTERVALS_AT_START * longest);
    const isCrowded = nowMs - this.#crowdedMs < HOLD_MAX_MS;
    if (isStarting || isCrowded) return { holdMs: holdOf(Math.max(longest, UNKNOWN_MS)), seen: undefined };
    // Who has closed the connection may not have taken the page.
    const isThere = [...this.#connections.keys()].every(({ destroyed }) => destroyed !== true);
    const isEachOne = isThere && intervals.every((interval) => interval?.isRegular === true);
    return { holdMs: holdOf(longest), seen: isEachOne ? oldestOf(known, thread) : undefined };
  }

  /** The page was given whole. */
  served(connection: Peer, written: Written): void {
    const known = this.#connections.get(connection);
    if (known !== undefined) known.written = written;
  }

  #note(connection: Peer, nowMs: number): void {
    const known = this.#connections.get(connection);
    const times = [...(known?.times ?? []), nowMs].slice(-GAPS - 1);
    this.#connections.delete(connection);
    this.#connections.set(connection, { times, written: known?.written });
    for (const [other, { times: visits }] of this.#connections) {
      const untilMs = (visits.at(-1) ?? 0) + (visits.length > GAPS_MIN ? HOLD_MAX_MS : holdOf(UNKNOWN_MS));
      if (untilMs < nowMs) this.#connections.delete(other);
    }
    const [longestAway] = this.#connections.keys();
    if (this.#connections.size <= CONNECTIONS_MAX || longestAway === undefined) return;
    this.#connections.delete(longestAway);
    this.#crowdedMs = nowMs;
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

/** Undefined while it is not known. */
function intervalOf(times: readonly number[]): { readonly ms: number; readonly isRegular: boolean } | undefined {
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
