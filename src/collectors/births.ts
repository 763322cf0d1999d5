/**
 * Maximum time in milliseconds for which a new row is shown at 0. It is long enough for a scrape interval of two
 * minutes.
 */
export const HOLD_MAX_MS = 152_000;
/** Time in milliseconds for which a new row is remembered after its hold, because writing a page may take this long. */
const WRITING_MS = 15_000;

/**
 * A request of a scraper, with the data that determines which rows it sees at 0. Prometheus computes increases between
 * scrapes, so it misses the first value of a row that it has never seen at 0.
 */
export interface ScraperView {
  /** Time of the request in milliseconds, on the same clock as the times of commits. */
  readonly askedMs: number;
  /** Time in milliseconds for which a new row is shown at 0. Every scraper makes a request within this time. */
  readonly holdMs: number;
  /**
   * Every scraper has received a page that was written at or after this time; undefined if unknown. Every scraper has
   * therefore seen 0 for rows that first appeared before this time.
   */
  readonly seenMs?: number | undefined;
}

interface Birth {
  /** Time at which the row was first held. */
  readonly firstMs: number;
  readonly bornMs: number;
  /**
   * Time of the first request whose response contained the value; infinity before that. Later requests never receive 0,
   * even if the hold changes.
   */
  valueFromMs: number;
}

/**
 * Tracks new rows that count from zero. A scraper receives 0 until all known scrapers have seen the row at 0 or the
 * hold is over. After that, it receives the value. The switch takes effect for all requests from a certain time on, so
 * the row never goes back to 0 for any client. A scraper with an interval shorter than the hold always sees 0 first.
 */
export class Births<Key> {
  readonly #births = new Map<Key, Birth>();
  #committedMs = 0;
  #isAway = false;

  get size(): number {
    return this.#births.size;
  }

  add(key: Key, nowMs: number): void {
    this.#hold(key, nowMs, nowMs);
  }

  delete(key: Key): void {
    if (this.#births.size > 0) this.#births.delete(key);
  }

  /** Whether a row is tracked and no scraper has seen its value yet. */
  isUnseen(key: Key): boolean {
    return this.#births.get(key)?.valueFromMs === Number.POSITIVE_INFINITY;
  }

  /** Whether some scrapers may have seen the value of a row while other scrapers have not. */
  isSpreading(key: Key, nowMs: number): boolean {
    const birth = this.#births.get(key);
    return birth !== undefined && Number.isFinite(birth.valueFromMs) && nowMs - birth.valueFromMs < HOLD_MAX_MS;
  }

  /**
   * Called when a row is renamed or reappears on the page. No scraper has seen the row at 0 under its current name. If
   * a scraper has already seen its value, the value stays visible, because its increase has been counted. A hold is not
   * restarted after the row has been held for HOLD_MAX_MS.
   */
  holdAnew(key: Key, nowMs: number): void {
    const birth = this.#births.get(key);
    if (birth?.valueFromMs !== Number.POSITIVE_INFINITY || this.#committedMs - birth.firstMs >= HOLD_MAX_MS) return;
    this.#hold(key, nowMs, birth.firstMs);
  }

  /** Called when all rows are hidden until the next commit. */
  away(): void {
    this.#isAway = true;
  }

  /** Called when the rows are on the page again. Forgets rows that no further request can see at 0. */
  commit(nowMs: number): void {
    if (this.#isAway) for (const key of [...this.#births.keys()]) this.holdAnew(key, nowMs);
    this.#isAway = false;
    this.#committedMs = nowMs;
    for (const [key, { bornMs }] of this.#births) {
      if (nowMs - bornMs < HOLD_MAX_MS + WRITING_MS) return;
      this.#births.delete(key);
    }
  }

  /**
   * Whether a row is shown at 0.
   * @param view undefined for a client that is not a scraper, which always sees the value
   */
  isAtZero(key: Key, view: ScraperView | undefined): boolean {
    if (view === undefined || this.#births.size === 0) return false;
    const birth = this.#births.get(key);
    if (birth === undefined) return false;
    const isSeen = view.seenMs !== undefined && birth.bornMs < view.seenMs;
    if (isSeen || view.askedMs >= birth.bornMs + view.holdMs)
      birth.valueFromMs = Math.min(birth.valueFromMs, view.askedMs);
    return view.askedMs < birth.valueFromMs;
  }

  #hold(key: Key, bornMs: number, firstMs: number): void {
    this.#births.delete(key);
    this.#births.set(key, { firstMs, bornMs, valueFromMs: Number.POSITIVE_INFINITY });
  }
}

/** Returns whether a new row of the entity in a slot counts from zero. */
export type CountsFromZero = (slot: number) => boolean;
