import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest time in milliseconds between two turns of the event loop. */
const SLICE_MS = 4;

/** One collection of all probes. Sources cache what they read per cycle, so that probes that need the same file share one read. */
export class Cycle {
  readonly signal: AbortSignal;
  #sliceStart = performance.now();

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /**
   * Whether the current slice of work has taken its time. Loops with many small steps check it before `pause`, because each
   * `await` costs a promise.
   */
  get isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  /**
   * Yields to the event loop if the current slice of work has taken its time. To be called between steps of the work.
   * @throws the signal's reason once the cycle is aborted
   */
  async pause(): Promise<void> {
    if (!this.isDue) return;
    await nextTurn();
    this.signal.throwIfAborted();
    this.#sliceStart = performance.now();
  }
}

/** Returns a cycle that is never aborted, for work outside of a collection. */
export function freeCycle(): Cycle {
  return new Cycle(new AbortController().signal);
}
