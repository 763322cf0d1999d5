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

/** Scrapes that came over one connection, the latest last. */
type Visits = readonly number[];

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
  readonly #visits = new Map<object, Visits>();
  /** When a connection was last forgotten for want of room. */
  #crowdedMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startMs = now();
  }

  /**
   * Notes a scrape.
   * @param connection the same object for all requests that come over it
   * @returns how long a new row is shown at 0 to every scraper, in milliseconds
   */
  holdMs(connection: object): number {
    const nowMs = this.#now();
    this.#note(connection, nowMs);
    if (this.intervalMs !== undefined) return holdOf(this.intervalMs);
    const intervals = [...this.#visits.values()].map(intervalOf);
    const longest = Math.max(...intervals.map((interval) => interval ?? UNKNOWN_MS));
    const isStarting = nowMs - this.#startMs < Math.min(UNKNOWN_MS, INTERVALS_AT_START * longest);
    const isCrowded = nowMs - this.#crowdedMs < HOLD_MAX_MS;
    return holdOf(isStarting || isCrowded ? Math.max(longest, UNKNOWN_MS) : longest);
  }

  #note(connection: object, nowMs: number): void {
    const visits = [...(this.#visits.get(connection) ?? []), nowMs].slice(-GAPS - 1);
    this.#visits.delete(connection);
    this.#visits.set(connection, visits);
    for (const [other, times] of this.#visits) {
      const untilMs = (times.at(-1) ?? 0) + (times.length > GAPS_MIN ? HOLD_MAX_MS : holdOf(UNKNOWN_MS));
      if (untilMs < nowMs) this.#visits.delete(other);
    }
    const [longestAway] = this.#visits.keys();
    if (this.#visits.size <= CONNECTIONS_MAX || longestAway === undefined) return;
    this.#visits.delete(longestAway);
    this.#crowdedMs = nowMs;
  }
}

/** Undefined while it is not known. */
function intervalOf(visits: Visits): number | undefined {
  const gaps = visits.slice(1).map((time, index) => time - (visits[index] as number));
  if (gaps.length < GAPS_MIN) return undefined;
  const longest = Math.max(...gaps);
  const isRegular = longest - Math.min(...gaps) <= JITTER * longest + JITTER_MS;
  if (isRegular) return longest;
  return gaps.length < GAPS ? undefined : gaps.reduce((sum, gap) => sum + gap, 0);
}

/** A scrape may come late and take its time, and one a second may fail. */
function holdOf(intervalMs: number): number {
  return Math.min(HOLD_MAX_MS, 1.25 * intervalMs + 2_000);
}
