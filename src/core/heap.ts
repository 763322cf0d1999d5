/**
 * Factor by which the resident memory grows over {@link WINDOW} samples in a burst. V8's heap grows more slowly in
 * normal operation.
 */
const BURST = 1.1;
const WINDOW = 3;
/**
 * Maximum factor by which the memory may grow between two samples to count as stable. A burst ends after {@link
 * STILL_LOOKS} consecutive stable samples.
 */
const STILL = 1.02;
const STILL_LOOKS = 2;

/** Detects the end of a burst of memory use from samples of the process's resident memory, taken at equal intervals. */
export class BurstWatch {
  readonly #earlier: number[] = [];
  #hasGrown = false;
  #still = 0;

  /**
   * Records a sample.
   * @param resident resident memory of the process in bytes
   * @returns whether a burst has just ended
   */
  look(resident: number): boolean {
    const last = this.#earlier.at(-1) ?? resident;
    if (resident > BURST * Math.min(resident, ...this.#earlier)) this.#hasGrown = true;
    this.#earlier.push(resident);
    if (this.#earlier.length > WINDOW) this.#earlier.shift();
    this.#still = this.#hasGrown && resident <= STILL * last ? this.#still + 1 : 0;
    if (this.#still < STILL_LOOKS) return false;
    // The next burst is measured relative to the memory use after this burst.
    this.#earlier.length = 0;
    this.#hasGrown = false;
    this.#still = 0;
    return true;
  }
}

/**
 * Releases memory to the kernel that V8 has freed in this thread but keeps for reuse. Blocks the thread for a few
 * tenths of a second. Does nothing unless Node.js runs with `--expose-gc`.
 */
export function giveBackMemory(): void {
  // Other kinds of garbage collection leave the pages of dead objects in V8's pool.
  globalThis.gc?.({ type: 'major', flavor: 'last-resort' });
}
