import { HOLD_MAX_MS } from './births.ts';

/** A shown one gives its place away to one that has more than this many times its score … */
const CLEARLY = 2;
/** … for as long as this. */
const LEAD_MS = 120_000;
/** It grows no more in the time before: every scraper has seen then what it has. */
const SEAL_MS = HOLD_MAX_MS;
/** The score is growth, half of it forgotten after this time. */
const HALF_LIFE_MS = 600_000;

/** What competes for a place. */
export interface Ranked {
  score: number;
  isShown: boolean;
  /** Since when it has clearly more than one that is shown. */
  leadsSinceMs: number | undefined;
  /** Since when it is about to give its place away. Its growth goes to those without a place. */
  sealedMs: number | undefined;
}

/** The factor by which scores shrink in this time. */
export function decayOver(ms: number): number {
  return 0.5 ** (ms / HALF_LIFE_MS);
}

export interface Changes<R> {
  readonly entered: readonly R[];
  readonly left: readonly R[];
}

/**
 * Gives `max` places to those with the highest scores. Free places are given at once. One that is taken changes hands only to
 * a clear lead that lasts: noise moves nobody. Its holder is sealed first, and is no more where the lead is lost meanwhile.
 *
 * @param mayLeave whether scrapers have seen what a sealed one has
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
 * Holders of places, each with the challenger that has led clearly for long enough, if there is one.
 *
 * @param shown by score, the lowest first
 * @param waiting by score, the highest first
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
