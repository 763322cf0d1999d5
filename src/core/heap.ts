/** Growth factor over {@link WINDOW} samples that counts as a burst. V8 grows more slowly in normal operation. */
const BURST = 1.1;
const WINDOW = 3;
/** Growth factor between two samples that counts as none. {@link STILL_LOOKS} such samples in a row end the burst. */
const STILL = 1.02;
const STILL_LOOKS = 2;

/** Detects the end of a memory burst, from samples of the process's resident memory at equal intervals. */
export class BurstWatch {
  readonly #earlier: number[] = [];
  #hasGrown = false;
  #still = 0;

  /**
   * Takes a sample.
   * @param resident resident memory of the process in bytes
   * @returns true once per burst, when it has ended
   */
  look(resident: number): boolean {
    const last = this.#earlier.at(-1) ?? resident;
    if (resident > BURST * Math.min(resident, ...this.#earlier)) this.#hasGrown = true;
    this.#earlier.push(resident);
    if (this.#earlier.length > WINDOW) this.#earlier.shift();
    this.#still = this.#hasGrown && resident <= STILL * last ? this.#still + 1 : 0;
    if (this.#still < STILL_LOOKS) return false;
    // The next burst is relative to the memory after this one.
    this.#earlier.length = 0;
    this.#hasGrown = false;
    this.#still = 0;
    return true;
  }
}

/**
 * Returns memory to the kernel that V8 has freed in this thread but keeps for reuse. Blocks the thread for some tenths of a
 * second. Does nothing unless Node.js runs with `--expose-gc`.
 */
export function giveBackMemory(): void {
  // Other kinds of collection leave the pages of dead objects in V8's pool.
  globalThis.gc?.({ type: 'major', flavor: 'last-resort' });
}
