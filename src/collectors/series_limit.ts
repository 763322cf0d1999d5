import type { Family, Foldable } from './family.ts';

/** Number of halvings after which every bound that a label may have is 0. */
const LEVELS = 12;
/** Share of the limit below which the page would have to stay for a fold to be reverted … */
const ROOM = 0.9;
/** … and the milliseconds for which it has to. */
const ROOM_MS = 600_000;

/** Order of folding, reversed for reverting. */
const ORDER = ['edges', 'labels'] as const satisfies readonly Foldable[];

/**
 * Bounds the series of all probes on a page. Where there would be more, the bounds of joint labels are halved for every entity,
 * repeatedly until the page fits, and only then those of open labels. Rows without a place are under `*`: sums stay exact. Series that
 * no bound of a label covers are never left out, so a limit below their number is not kept.
 */
export class SeriesLimit {
  #max = Number.POSITIVE_INFINITY;
  readonly #levels: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Levels that families were given, where they are not 0. */
  readonly #told = new Map<Family, number>();
  #roomSinceMs: number | undefined;
  /** Number of series that were folded into `*` since the start. */
  readonly folded: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Number of series on the page, after folding. */
  series = 0;

  get max(): number {
    return this.#max;
  }

  /** A higher limit than before reverts all folds, from the second collection on. */
  set max(max: number) {
    if (max > this.#max) for (const kind of ORDER) this.#levels[kind] = 0;
    this.#max = max;
  }

  /** Folds the series that exceed the limit. @param families families of all probes, all collected */
  fit(families: readonly Family[], nowMs: number): void {
    this.#setLevels(families);
    let counts = countOf(families);
    for (const kind of ORDER) {
      while (counts.all > this.#max && this.#levels[kind] < LEVELS) {
        this.#levels[kind]++;
        this.#setLevels(families);
        this.#roomSinceMs = undefined;
        counts = countOf(families);
      }
    }
    this.series = counts.all;
    if (this.#unfolds(counts, nowMs)) this.#setLevels(families);
  }

  #setLevels(families: readonly Family[]): void {
    for (const family of families) {
      if (family.kind === 'plain') continue;
      const level = this.#levels[family.kind];
      if ((this.#told.get(family) ?? 0) === level) continue;
      this.#told.set(family, level);
      this.folded[family.kind] += family.fold(level);
    }
  }

  /** Reverts one step, from the next collection on, where there has been room for twice the bounded series. */
  #unfolds(counts: Record<Foldable | 'all', number>, nowMs: number): boolean {
    const kind = [...ORDER].reverse().find((candidate) => this.#levels[candidate] > 0);
    if (kind === undefined || counts.all + counts[kind] > this.#max * ROOM) {
      this.#roomSinceMs = undefined;
      return false;
    }
    this.#roomSinceMs ??= nowMs;
    if (nowMs - this.#roomSinceMs < ROOM_MS) return false;
    this.#levels[kind]--;
    this.#roomSinceMs = undefined;
    return true;
  }
}

function countOf(families: readonly Family[]): Record<Foldable | 'all', number> {
  const counts = { edges: 0, labels: 0, plain: 0 };
  for (const { kind, series } of families) counts[kind] += series;
  return { ...counts, all: counts.edges + counts.labels + counts.plain };
}
