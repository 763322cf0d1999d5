import { HOLD_MAX_MS, type ScraperView } from './births.ts';

/**
 * When the most recent new row of an entity appeared (`bornMs`), and when the agent began to report the entity's new rows
 * as 0 (`fromMs`). That period restarts if the rows reappear or are renamed before a scraper has seen their values.
 */
interface Held {
  readonly bornMs: number;
  readonly fromMs: number;
}

/** Entities whose rows must stay on the page, because a scraper may not have seen all of their counts yet. */
export class Holds {
  /** Held entities, by slot. */
  readonly #held = new Map<number, Held>();

  /** Called when a new row of an entity appears that counts from zero. */
  add(slot: number, nowMs: number): void {
    this.#held.set(slot, { bornMs: nowMs, fromMs: nowMs });
  }

  delete(slot: number): void {
    this.#held.delete(slot);
  }

  /**
   * Restarts the hold of entities whose last new row appeared less than HOLD_MAX_MS ago, because their rows have
   * reappeared or were renamed. `Births` restarts the hold of these rows, and the entities must stay as long as their
   * rows are held.
   * @param only slot of the entity; undefined for all entities
   */
  restart(nowMs: number, only?: number): void {
    for (const slot of only === undefined ? [...this.#held.keys()] : [only]) {
      const held = this.#held.get(slot);
      if (held !== undefined && nowMs - held.bornMs < HOLD_MAX_MS) this.#held.set(slot, { ...held, fromMs: nowMs });
    }
  }

  /** @param view the last request of a scraper */
  isHeld(slot: number, nowMs: number, { askedMs, holdMs }: ScraperView): boolean {
    const held = this.#held.get(slot);
    // A hold covers at least one scrape interval, so twice the hold also covers the next scrape.
    return held !== undefined && nowMs - askedMs < 2 * HOLD_MAX_MS && nowMs - held.fromMs < 2 * holdMs;
  }
}
