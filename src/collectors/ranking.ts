import { HOLD_MAX_MS } from './births.ts';

/** Factor by which a waiting entry's score must exceed that of a shown one to take its place … */
const CLEARLY = 2;
/** … and the milliseconds for which it has to do so. */
const LEAD_MS = 120_000;
/** Milliseconds before that in which the shown entry grows no more, so that every scraper has seen its counts. */
const SEAL_MS = HOLD_MAX_MS;
/** Milliseconds after which half of the score, which is growth, is forgotten. */
const HALF_LIFE_MS = 600_000;

/** Candidate for a place. */
export interface Ranked {
  score: number;
  isShown: boolean;
  /** Time since when it clearly exceeds a shown one. */
  leadsSinceMs: number | undefined;
  /** Time since when it is about to lose its place. Its growth goes to the entries without a place. */
  sealedMs: number | undefined;
}

/** Returns the factor by which scores shrink in this time. */
export function decayOver(ms: number): number {
  return 0.5 ** (ms / HALF_LIFE_MS);
}

export interface Changes<R> {
  readonly entered: readonly R[];
  readonly left: readonly R[];
}

/**
 * Gives `max` places to the candidates with the highest scores. Free places are given at once. A taken place changes hands only after
 * a clear and lasting lead, so noise moves no candidate. Its holder is sealed first, and unsealed where the lead is lost meanwhile.
 *
 * @param mayLeave whether scrapers have seen the counts of a sealed one
 */
export function settle<R extends Ranked>(
  all: Iterable<R>,
  max: number,
  nowMs: number,
  mayLeave: (holder: R) => boolean = () => true,
): Changes<R> {
  const shown: R[] = [];
  const waiting: R[] = [];
  for (const one of all) (one.isShown ? shown : waiting).push(one);
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

/**
 * Pairs holders of places, each with the challenger that has led clearly for long enough, if there is one.
 *
 * @param shown holders by score, the lowest first
 * @param waiting challengers by score, the highest first
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
