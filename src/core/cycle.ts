import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds of work after which a collection yields to the event loop. */
const SLICE_MS = 4;

/**
 * One collection of all probes. Sources cache what they read during a cycle, so that probes that need the same file
 * share one read.
 */
export class Cycle {
  readonly signal: AbortSignal;
  #sliceStart = performance.now();

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /**
   * Whether the current slice of work has used up its time. Loops with many short steps check this property before they
   * call `pause`, because each `await` allocates a promise.
   */
  get isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  /**
   * Yields to the event loop if the current slice of work has used up its time. Must be called between the steps of a
   * collection.
   * @throws the signal's reason if the cycle has been aborted
   */
  async pause(): Promise<void> {
    if (!this.isDue) return;
    await nextTurn();
    this.signal.throwIfAborted();
    this.#sliceStart = performance.now();
  }
}

/** Returns a cycle that is never aborted, for work outside a collection. */
export function freeCycle(): Cycle {
  return new Cycle(new AbortController().signal);
}
