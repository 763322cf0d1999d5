import type { Family, Foldable } from './family.ts';

/** Number of halvings after which every possible limit of a label is 0. */
const LEVELS = 12;
/** Fraction of the limit that the page must stay below before a fold is reverted. */
const ROOM = 0.9;
/** Time in milliseconds for which the page must stay below this fraction before a fold is reverted. */
const ROOM_MS = 600_000;

/** Order in which kinds of labels are folded. Folds are reverted in the opposite order. */
const ORDER = ['edges', 'labels'] as const satisfies readonly Foldable[];

/**
 * Limits the number of series of all probes on a page. If a page exceeds the limit, the limits of joint labels are
 * halved for every entity until the page fits. If that is not enough, the limits of open labels are halved as well.
 * Folded series are summed under `*`, so sums stay exact. Series without a limited label are never dropped, so the page
 * exceeds a limit that is lower than their number.
 */
export class SeriesLimit {
  #max = Number.POSITIVE_INFINITY;
  readonly #levels: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Level that each family was last set to. Families that are not in the map are at level 0. */
  readonly #told = new Map<Family, number>();
  #roomSinceMs: number | undefined;
  /** Number of series that were folded into `*` since the start. */
  readonly folded: Record<Foldable, number> = { edges: 0, labels: 0 };
  /** Number of series on the page after folding. */
  series = 0;

  get max(): number {
    return this.#max;
  }

  /** Sets the limit. If it is raised, all folds are reverted in the collection after the next one. */
  set max(max: number) {
    if (max > this.#max) for (const kind of ORDER) this.#levels[kind] = 0;
    this.#max = max;
  }

  /**
   * Folds series until the page is within the limit.
   * @param families families of all probes, after all probes have been collected
   */
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

  /**
   * Reverts one fold for the next collection if, for at least {@link ROOM_MS}, the page would have had room for twice
   * as many series of that kind. Returns whether a fold was reverted.
   */
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
