import type { Family, Foldable } from './family.ts';

/** Number of halvings after which every limit that a label can have is 0. */
const LEVELS = 12;
/** Share of the limit that the page must stay below to revert a fold. */
const ROOM = 0.9;
/** Milliseconds for which the page must stay below it. */
const ROOM_MS = 600_000;

/** Order of folding; folds are reverted in reverse order. */
const ORDER = ['edges', 'labels'] as const satisfies readonly Foldable[];

/**
 * Limits the series of all probes on a page. Over the limit, the limits of joint labels are halved for every entity until the
 * page fits; if that is not enough, those of open labels are. The rest is summed under `*`, so sums stay exact. Series without
 * a limited label are never dropped, so a limit lower than their number is exceeded.
 */
export class SeriesLimit {
  #max = Number.POSITIVE_INFINITY;
  readonly #levels: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Levels of the families that are not at level 0. */
  readonly #told = new Map<Family, number>();
  #roomSinceMs: number | undefined;
  /** Number of series that were folded into `*` since the start. */
  readonly folded: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Number of series on the page after folding. */
  series = 0;

  get max(): number {
    return this.#max;
  }

  /** A higher limit than before reverts all folds with the second collection from now. */
  set max(max: number) {
    if (max > this.#max) for (const kind of ORDER) this.#levels[kind] = 0;
    this.#max = max;
  }

  /** Folds series over the limit. @param families families of all probes, after all were collected */
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

  /** Reverts one fold for the next collection, if the page has long had room for twice as many series of that kind. */
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
