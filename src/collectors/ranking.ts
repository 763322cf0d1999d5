/** A shown one gives its place away to one that has more than this many times its score … */
const CLEARLY = 2;
/** … for as long as this. */
const HOLD_MS = 120_000;
/** The score is growth, half of it forgotten after this time. */
const HALF_LIFE_MS = 600_000;

/** What competes for a place. */
export interface Ranked {
  score: number;
  isShown: boolean;
  /** Since when it has clearly more than one that is shown. */
  leadsSinceMs: number | undefined;
}

/** The factor by which scores shrink in this time. */
export function decayOver(ms: number): number {
  return 0.5 ** (ms / HALF_LIFE_MS);
}

export interface Changes<R> {
  readonly entered: readonly R[];
  readonly left: readonly R[];
}

const NONE = { entered: [], left: [] } as const;

/**
 * Gives `max` places to those with the highest scores. Free places are given at once. One that is taken changes hands only to
 * a clear lead that lasts: noise moves nobody.
 */
export function settle<R extends Ranked>(all: Iterable<R>, max: number, nowMs: number): Changes<R> {
  const shown: R[] = [];
  const waiting: R[] = [];
  for (const one of all) (one.isShown ? shown : waiting).push(one);
  if (shown.length <= max && waiting.length === 0) return NONE;
  shown.sort((a, b) => a.score - b.score);
  waiting.sort((a, b) => b.score - a.score);
  const left = shown.splice(0, Math.max(0, shown.length - max));
  const entered = waiting.splice(0, Math.max(0, max - shown.length));
  let rank = 0;
  for (const challenger of waiting) {
    const holder = shown[rank];
    if (holder === undefined || challenger.score <= holder.score * CLEARLY) {
      challenger.leadsSinceMs = undefined;
      continue;
    }
    rank++;
    challenger.leadsSinceMs ??= nowMs;
    if (nowMs - challenger.leadsSinceMs < HOLD_MS) continue;
    left.push(holder);
    entered.push(challenger);
  }
  for (const one of left) one.isShown = false;
  for (const one of entered) {
    one.isShown = true;
    one.leadsSinceMs = undefined;
  }
  return { entered, left };
}
