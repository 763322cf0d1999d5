/** Factor by which the resident memory must have grown. */
const GROWN = 1.1;
/** Number of samples within which the memory grows in a burst. */
const WINDOW = 3;
/**
 * Maximum factor by which the memory may grow between two samples to count as stable. A burst ends after a number of
 * consecutive stable samples ({@link STILL_LOOKS}).
 */
const STILL = 1.02;
const STILL_LOOKS = 2;
/** Minimum number of samples between two returns of memory that has grown slowly. */
const SLOW_LOOKS = 60;

/**
 * Decides when the process should return unused memory to the kernel, from samples of its resident memory, taken at
 * equal intervals: at the end of a burst of memory use, and after slow growth. V8's heaps grow slowly for hours although
 * the size of their content does not change.
 */
export class MemoryWatch {
  readonly #earlier: number[] = [];
  #hasGrown = false;
  #still = 0;
  /** Number of samples since the last return. */
  #looks = 0;
  /** Minimum of these samples. */
  #least = Number.POSITIVE_INFINITY;

  /**
   * Records a sample.
   * @param resident resident memory of the process in bytes
   * @returns whether memory should be returned now
   */
  look(resident: number): boolean {
    this.#looks++;
    this.#least = Math.min(this.#least, resident);
    const hasGrownSlowly = this.#looks > SLOW_LOOKS && resident > GROWN * this.#least;
    if (!this.#isEndOfBurst(resident) && !hasGrownSlowly) return false;
    // Further growth is measured relative to the memory use after this return.
    this.#earlier.length = 0;
    this.#hasGrown = false;
    this.#still = 0;
    this.#looks = 0;
    this.#least = Number.POSITIVE_INFINITY;
    return true;
  }

  #isEndOfBurst(resident: number): boolean {
    const last = this.#earlier.at(-1) ?? resident;
    if (resident > GROWN * Math.min(resident, ...this.#earlier)) this.#hasGrown = true;
    this.#earlier.push(resident);
    if (this.#earlier.length > WINDOW) this.#earlier.shift();
    this.#still = this.#hasGrown && resident <= STILL * last ? this.#still + 1 : 0;
    return this.#still >= STILL_LOOKS;
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
