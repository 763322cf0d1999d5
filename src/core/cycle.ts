import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest piece of work between two turns of the event loop, in milliseconds. */
const SLICE_MS = 4;

/**
 * One collection of all probes. Sources key what they have read by it, so that three probes that want the same
 * file cause one read.
 */
export class Cycle {
  readonly signal: AbortSignal;
  #sliceStart = performance.now();

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** This slice has taken long enough. To be asked before `pause` where pieces are many and small: each `await` makes promises. */
  get isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  /**
   * To be awaited between pieces of work: lets the event loop turn where this one took long enough.
   * @throws the signal's reason, where nobody waits for the result any more
   */
  async pause(): Promise<void> {
    if (!this.isDue) return;
    await nextTurn();
    this.signal.throwIfAborted();
    this.#sliceStart = performance.now();
  }
}

/** A cycle that nobody aborts, for work outside a scrape. */
export function freeCycle(): Cycle {
  return new Cycle(new AbortController().signal);
}
