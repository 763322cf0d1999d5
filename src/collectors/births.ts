/** Longest time, in milliseconds, for which a new row is shown at 0: enough for a scraper that comes every two minutes. */
export const HOLD_MAX_MS = 152_000;
/** Milliseconds for which a page may still be written that was asked for before a birth was forgotten. */
const WRITING_MS = 15_000;

/** The page as seen by a scraper that computes increases: if it never sees a row at 0, it misses the first value for good. */
export interface ScraperView {
  /** Time of the request, by the clock of the commits. */
  readonly askedMs: number;
  /** Milliseconds for which a new row is shown at 0: every scraper comes within that time. */
  readonly holdMs: number;
  /**
   * Time at which the page was written that every scraper has had since; undefined where not all are known. All scrapers have seen
   * earlier births at 0.
   */
  readonly seenMs?: number | undefined;
}

interface Birth {
  /** Start of the first hold. */
  readonly firstMs: number;
  readonly bornMs: number;
  /** Time of a request from which the value is shown, however the hold changes: no caller may see 0 after it. */
  valueFromMs: number;
}

/**
 * New rows that count from zero. Scrapers see each of them at 0 until all known scrapers have seen it so, or the hold is over, and
 * then at its value. The time of the request decides what is shown, so a value never steps back for any caller, and a scraper whose
 * interval is shorter than the hold sees the 0 before the value.
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

  /** Returns whether no scraper has seen its value. */
  isUnseen(key: Key): boolean {
    return this.#births.get(key)?.valueFromMs === Number.POSITIVE_INFINITY;
  }

  /** Returns whether some scraper may have seen its value, and another one not yet. */
  isSpreading(key: Key, nowMs: number): boolean {
    const birth = this.#births.get(key);
    return birth !== undefined && Number.isFinite(birth.valueFromMs) && nowMs - birth.valueFromMs < HOLD_MAX_MS;
  }

  /**
   * Called when the row has another name, or was on no page until now, so that no scraper has seen its 0 as it is shown. A row whose
   * value was seen keeps it: its increase was counted. A row that keeps vanishing, or is renamed repeatedly, has its value late, but not
   * never.
   */
  holdAnew(key: Key, nowMs: number): void {
    const birth = this.#births.get(key);
    if (birth?.valueFromMs !== Number.POSITIVE_INFINITY || this.#committedMs - birth.firstMs >= HOLD_MAX_MS) return;
    this.#hold(key, nowMs, birth.firstMs);
  }

  /** Called when no row is on a page until the next commit. */
  away(): void {
    this.#isAway = true;
  }

  /** Called when all rows are on the page again. Forgets those that no caller sees at 0 any more. */
  commit(nowMs: number): void {
    if (this.#isAway) for (const key of [...this.#births.keys()]) this.holdAnew(key, nowMs);
    this.#isAway = false;
    this.#committedMs = nowMs;
    for (const [key, { bornMs }] of this.#births) {
      if (nowMs - bornMs < HOLD_MAX_MS + WRITING_MS) return;
      this.#births.delete(key);
    }
  }

  /** Returns whether the row is at 0 in this view of the page. @param view undefined: not a scraper, but a caller that sees the values as they are */
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

/** Returns whether a row that did not exist at the last commit counts from zero, by the slot of its entity. */
export type CountsFromZero = (slot: number) => boolean;
