import type { Tally } from './tally.ts';

/** Network namespaces that a node may hold: many more than Pods, since a Pod may make some of its own. */
export const NAMESPACES_MAX = 16_384;

/** A map that is nearly full when the dead have gone, and had no room before, is full for so long. */
const MISSED_MS = 60_000;
/** With more room than this it was memory that was missing, for a moment. */
const NEARLY = 7 / 8;

/** Tells whether what a BPF probe keeps for each namespace has found room. */
export class Room {
  readonly #now: () => number;
  readonly #full = new Map<string, string>();
  #missed: bigint;
  #missedMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(tally: Pick<Tally, 'uncounted'>, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#missed = missesOf(tally);
  }

  /** To be called when the dead have made room. @param entries that are left in the map */
  look(tally: Pick<Tally, 'uncounted'>, map: string, entries: number, max: number): void {
    const missed = missesOf(tally);
    if (missed > this.#missed && entries >= NEARLY * max) this.#missedMs = this.#now();
    this.#missed = missed;
    const isFull = entries >= max || this.#now() - this.#missedMs < MISSED_MS;
    this.#note(
      map,
      isFull,
      `holds ${entries} of ${max} entries: what finds no room is in no other count than map_full`,
    );
  }

  /** The same of the map of the limits of events, whose refusals are no misses. */
  lookAtBuckets(map: string, entries: number, max: number): void {
    this.#note(map, entries >= max, `holds ${max} namespaces: others send no events`);
  }

  get degraded(): string[] {
    return [...this.#full].map(([map, what]) => `${map} ${what}`);
  }

  #note(map: string, isFull: boolean, what: string): void {
    if (isFull) this.#full.set(map, what);
    else this.#full.delete(map);
  }
}

function missesOf(tally: Pick<Tally, 'uncounted'>): bigint {
  return BigInt(tally.uncounted().map_full ?? 0);
}
