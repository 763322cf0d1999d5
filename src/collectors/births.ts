/** Maximum milliseconds that a new row is shown at 0, enough for a scrape interval of two minutes. */
export const HOLD_MAX_MS = 152_000;
/** Milliseconds that births are remembered after their hold, because a page may take that long to write. */
const WRITING_MS = 15_000;

/** How a scraper sees the page. Scrapers compute increases, and miss the first value of a row that they never saw at 0. */
export interface ScraperView {
  /** Time of the request, on the clock of the commits. */
  readonly askedMs: number;
  /** Milliseconds that a new row is shown at 0. Every scraper comes within this time. */
  readonly holdMs: number;
  /** When a page was written that every scraper has received since, so that all have seen earlier births at 0; undefined if unknown. */
  readonly seenMs?: number | undefined;
}

interface Birth {
  /** When the row was first held. */
  readonly firstMs: number;
  readonly bornMs: number;
  /** Time of the first request that saw the value. No later request may see 0, even if the hold changes. */
  valueFromMs: number;
}

/**
 * Tracks new rows that count from zero. A scraper sees a row at 0 until all known scrapers have seen it, or the hold is over,
 * and then sees its value. The time of the request decides, so the row never goes back to 0 for any client. A scraper with an
 * interval shorter than the hold always sees 0 first.
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

  /** Whether no scraper has seen the value of a row. */
  isUnseen(key: Key): boolean {
    return this.#births.get(key)?.valueFromMs === Number.POSITIVE_INFINITY;
  }

  /** Whether some scrapers may have seen the value of a row while others have not. */
  isSpreading(key: Key, nowMs: number): boolean {
    const birth = this.#births.get(key);
    return birth !== undefined && Number.isFinite(birth.valueFromMs) && nowMs - birth.valueFromMs < HOLD_MAX_MS;
  }

  /**
   * Called when a row is renamed or returns to the page, so that no scraper has seen it at 0 under its name. If its value was
   * seen, it stays visible, because its increase was counted. The total hold of a row is limited to HOLD_MAX_MS.
   */
  holdAnew(key: Key, nowMs: number): void {
    const birth = this.#births.get(key);
    if (birth?.valueFromMs !== Number.POSITIVE_INFINITY || this.#committedMs - birth.firstMs >= HOLD_MAX_MS) return;
    this.#hold(key, nowMs, birth.firstMs);
  }

  /** Called when all rows are off the page until the next commit. */
  away(): void {
    this.#isAway = true;
  }

  /** Called when all rows are on the page again. Forgets births that no request can see at 0 any more. */
  commit(nowMs: number): void {
    if (this.#isAway) for (const key of [...this.#births.keys()]) this.holdAnew(key, nowMs);
    this.#isAway = false;
    this.#committedMs = nowMs;
    for (const [key, { bornMs }] of this.#births) {
      if (nowMs - bornMs < HOLD_MAX_MS + WRITING_MS) return;
      this.#births.delete(key);
    }
  }

  /** Whether a row is shown at 0. @param view undefined for a client that is not a scraper, which sees the values */
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

/** Whether a row that is new in this collection counts from zero, by the slot of its entity. */
export type CountsFromZero = (slot: number) => boolean;
