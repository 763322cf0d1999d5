import { HOLD_MAX_MS } from './births.ts';

/** Factor by which the score of a waiting candidate must exceed the score of a shown candidate to replace it. */
const CLEARLY = 2;
/** Time in milliseconds for which this lead must last. */
const LEAD_MS = 120_000;
/**
 * Time in milliseconds for which a shown candidate stops growing before it is replaced, so that every scraper sees its
 * counts.
 */
const SEAL_MS = HOLD_MAX_MS;
/** Half-life of scores in milliseconds. The score of a candidate is its growth, which decays over time. */
const HALF_LIFE_MS = 600_000;

/** A candidate for one of a limited number of places. */
export interface Ranked {
  score: number;
  isShown: boolean;
  /** Time at which the score started to clearly exceed that of a shown candidate; undefined if it does not. */
  leadsSinceMs: number | undefined;
  /**
   * Time at which the candidate was sealed because it is about to lose its place; undefined if it is not sealed. While
   * it is sealed, its growth is counted under `*`.
   */
  sealedMs: number | undefined;
}

/** Returns the factor by which scores decay in the given number of milliseconds. */
export function decayOver(ms: number): number {
  return 0.5 ** (ms / HALF_LIFE_MS);
}

/** A map or an array of candidates. */
export interface Candidates<R> {
  values(): Iterable<R>;
}

export interface Changes<R> {
  readonly entered: readonly R[];
  readonly left: readonly R[];
}

/**
 * Assigns `max` places to the candidates with the highest scores. Free places are assigned immediately. A candidate
 * loses its place only to a challenger with a clear and lasting lead, so that fluctuations have no effect. The
 * candidate is sealed first, and is unsealed if the challenger loses its lead.
 *
 * @param mayLeave whether scrapers have seen all counts of a sealed candidate
 */
export function settle<R extends Ranked>(
  all: Candidates<R>,
  max: number,
  nowMs: number,
  mayLeave: (holder: R) => boolean = () => true,
): Changes<R> {
  if (isSettled(all, max)) return UNCHANGED;
  const shown: R[] = [];
  const waiting: R[] = [];
  for (const one of all.values()) (one.isShown ? shown : waiting).push(one);
  shown.sort((a, b) => a.score - b.score);
  waiting.sort((a, b) => b.score - a.score);
  const left = shown.splice(0, Math.max(0, shown.length - max));
  const entered = waiting.splice(0, Math.max(0, max - shown.length));
  for (const [holder, challenger] of pairsOf(shown, waiting, nowMs)) {
    if (challenger === undefined) holder.sealedMs = undefined;
    else holder.sealedMs ??= nowMs;
    if (challenger === undefined || nowMs - (holder.sealedMs ?? nowMs) < SEAL_MS || !mayLeave(holder)) continue;
    left.push(holder);
    entered.push(challenger);
  }
  for (const one of left) one.isShown = false;
  for (const one of entered) {
    one.isShown = true;
    one.leadsSinceMs = undefined;
    one.sealedMs = undefined;
  }
  return { entered, left };
}

const UNCHANGED: Changes<never> = { entered: [], left: [] };

/** Returns whether all candidates have places. If they do, cancels all pending replacements. */
function isSettled(all: Candidates<Ranked>, max: number): boolean {
  let shown = 0;
  for (const { isShown } of all.values()) {
    if (!isShown || ++shown > max) return false;
  }
  for (const one of all.values()) one.sealedMs = undefined;
  return true;
}

/**
 * Returns each shown candidate with the waiting candidate that has clearly exceeded its score for long enough, if there
 * is one.
 *
 * @param shown shown candidates by ascending score
 * @param waiting waiting candidates by descending score
 */
function pairsOf<R extends Ranked>(shown: readonly R[], waiting: readonly R[], nowMs: number): [R, R | undefined][] {
  const challengers: (R | undefined)[] = [];
  for (const challenger of waiting) {
    const holder = shown[challengers.length];
    if (holder === undefined || challenger.score <= holder.score * CLEARLY) {
      challenger.leadsSinceMs = undefined;
      continue;
    }
    challenger.leadsSinceMs ??= nowMs;
    challengers.push(nowMs - challenger.leadsSinceMs < LEAD_MS ? undefined : challenger);
  }
  return shown.map((holder, rank) => [holder, challengers[rank]]);
}
