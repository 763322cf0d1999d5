/** States of a row whose peer's address may be a translation of the real one (ADR 42). */
export const TRANSLATION_STATES = [
  'resolved',
  'direct',
  'pending',
  'mixed',
  'untracked',
  'no_room',
  'no_lookup',
] as const;
export type TranslationState = (typeof TRANSLATION_STATES)[number];

/** Knowledge about the real end of a row's connections. */
export interface Translation {
  readonly state: TranslationState;
  /** Address of the real end; undefined unless the state is `resolved`. */
  readonly address?: string;
  /** Address to which the state may refer next, so that its identity should be known by then. */
  readonly next?: string;
}

/** Real ends of the connections of a row that were open or ended in one interval, as they were looked up. */
export interface IntervalEnds {
  /** Addresses in the format of `formatIp`. */
  readonly ends: ReadonlySet<string>;
  /** Reason why the ends of some connections are unknown; undefined if all are known. */
  readonly failure?: 'untracked' | 'no_room' | undefined;
}

const NOTHING: IntervalEnds = { ends: new Set() };
const PENDING: Translation = { state: 'pending' };

/**
 * Decides whether a row has a single real end. A socket that is closed while sockets are read appears in the row one
 * interval after it was logged, so the growth of an interval belongs to connections of this interval and the one
 * before. The row has a real end only if all of these connections have the same one.
 */
export class TranslatedRow {
  readonly #peer: string;
  #before: IntervalEnds | undefined;
  #now: IntervalEnds | undefined;
  #translation = PENDING;

  /** @param peer address of the peer, which is also the real end of connections without translation */
  constructor(peer: string) {
    this.#peer = peer;
  }

  /**
   * Ends an interval in which all connections of the row were logged.
   * @param ends ends of these connections; undefined if there were none
   */
  next(ends: IntervalEnds | undefined): Translation {
    this.#before = this.#now;
    this.#now = ends ?? NOTHING;
    this.#translation = this.#conclude(this.#before, this.#now);
    return this.#translation;
  }

  #conclude(before: IntervalEnds | undefined, now: IntervalEnds): Translation {
    const [address] = now.ends.size === 1 ? now.ends : [];
    const next = address === undefined || address === this.#peer ? {} : { next: address };
    if (before === undefined) return { state: 'pending', ...next };
    const failure = now.failure ?? before.failure;
    if (failure !== undefined) return { state: failure, ...next };
    const ends = new Set([...before.ends, ...now.ends]);
    const [end] = ends;
    // Without connections there is no growth, and the last real end stays known.
    if (end === undefined) return this.#translation;
    if (ends.size > 1) return { state: 'mixed', ...next };
    return end === this.#peer ? { state: 'direct' } : { state: 'resolved', address: end };
  }
}
