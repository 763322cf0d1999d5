import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest piece of work between two turns of the event loop, in milliseconds. */
const SLICE_MS = 4;

/**
 * One collection of all probes. Sources key the data that they read by it, so that three probes that need the same file cause one read.
 */
export class Cycle {
  readonly signal: AbortSignal;
  #sliceStart = performance.now();

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /**
   * True when this slice has taken long enough. Check it before `pause` where pieces of work are many and small: each `await` makes
   * promises.
   */
  get isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  /**
   * Lets the event loop turn where this slice has taken long enough. Await it between pieces of work.
   * @throws the signal's reason, where the result is not needed any more
   */
  async pause(): Promise<void> {
    if (!this.isDue) return;
    await nextTurn();
    this.signal.throwIfAborted();
    this.#sliceStart = performance.now();
  }
}

/** Returns a cycle that is never aborted, for work outside a scrape. */
export function freeCycle(): Cycle {
  return new Cycle(new AbortController().signal);
}
