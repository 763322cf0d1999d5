/** Longest time that a new row is shown at 0: enough for who scrapes every two minutes. */
export const HOLD_MAX_MS = 152_000;
/** A page may still be written that was asked for before a birth was forgotten. */
const WRITING_MS = 15_000;

/** The page as a scraper sees it that computes increases: one that never saw a row at 0 misses its first value for good. */
export interface ScraperView {
  /** When it was asked for, by the clock of the commits. */
  readonly askedMs: number;
  /** A new row is shown at 0 for so long: every scraper comes by in that time. */
  readonly holdMs: number;
  /** When the page was written that every scraper has had since; undefined where not all are known. What was born before, all have seen at 0. */
  readonly seenMs?: number | undefined;
}

interface Birth {
  /** When the hold began first. */
  readonly firstMs: number;
  readonly bornMs: number;
  /** Who asks from here on sees the value, whatever the hold becomes: nobody may see 0 after it. */
  valueFromMs: number;
}

/**
 * Rows that are new and count from zero. Scrapers see each of them at 0 until all that are known have seen it so, or the hold is
 * over, and then at its value. What is seen depends on when the page was asked for, so that it never steps back for
 * anybody, and whoever comes more often than the hold lasts sees the 0 before the value.
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

  /** No scraper has seen its value. */
  isUnseen(key: Key): boolean {
    return this.#births.get(key)?.valueFromMs === Number.POSITIVE_INFINITY;
  }

  /** Some scraper may have seen its value, and another one not yet. */
  isSpreading(key: Key, nowMs: number): boolean {
    const birth = this.#births.get(key);
    return birth !== undefined && Number.isFinite(birth.valueFromMs) && nowMs - birth.valueFromMs < HOLD_MAX_MS;
  }

  /**
   * The row has another name from now on, or was on no page until now: nobody has seen its 0 as it is shown. One whose value was seen keeps it: its
   * increase was counted. One that keeps vanishing, or is given name after name, has its value late, but not for ever.
   */
  holdAnew(key: Key, nowMs: number): void {
    const birth = this.#births.get(key);
    if (birth?.valueFromMs !== Number.POSITIVE_INFINITY || this.#committedMs - birth.firstMs >= HOLD_MAX_MS) return;
    this.#hold(key, nowMs, birth.firstMs);
  }

  /** No row is on a page until the next commit. */
  away(): void {
    this.#isAway = true;
  }

  /** All rows are on the page again. Forgets those that nobody sees at 0 any more. */
  commit(nowMs: number): void {
    if (this.#isAway) for (const key of [...this.#births.keys()]) this.holdAnew(key, nowMs);
    this.#isAway = false;
    this.#committedMs = nowMs;
    for (const [key, { bornMs }] of this.#births) {
      if (nowMs - bornMs < HOLD_MAX_MS + WRITING_MS) return;
      this.#births.delete(key);
    }
  }

  /** Whether the row is at 0 for who sees the page so. @param view undefined: no scraper, who sees what is */
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

/** Whether a row that was not there at the last commit counts from zero, by the slot of its entity. */
export type CountsFromZero = (slot: number) => boolean;
