/** Memory that has grown by so much within {@link WINDOW} looks has met a burst; what grows slower is V8's ease. */
const BURST = 1.1;
const WINDOW = 3;
/** It is over when so many looks one after the other find no more than so much on top. */
const STILL = 1.02;
const STILL_LOOKS = 2;

/** Tells the end of a burst, by looks at the memory of the process at equal distances. */
export class BurstWatch {
  readonly #earlier: number[] = [];
  #hasGrown = false;
  #still = 0;

  /**
   * @param resident bytes now
   * @returns whether a burst has just ended: once for each
   */
  look(resident: number): boolean {
    const last = this.#earlier.at(-1) ?? resident;
    if (resident > BURST * Math.min(resident, ...this.#earlier)) this.#hasGrown = true;
    this.#earlier.push(resident);
    if (this.#earlier.length > WINDOW) this.#earlier.shift();
    this.#still = this.#hasGrown && resident <= STILL * last ? this.#still + 1 : 0;
    if (this.#still < STILL_LOOKS) return false;
    // What comes next is measured from what is left then.
    this.#earlier.length = 0;
    this.#hasGrown = false;
    this.#still = 0;
    return true;
  }
}

/**
 * Gives back to the kernel what V8 has freed in this thread and keeps for later: some tenths of a second of CPU, in which nothing else runs.
 * Nothing happens where Node.js runs without `--expose-gc`.
 */
export function giveBackMemory(): void {
  // Any other collection leaves the pages of dead objects in V8's pool.
  globalThis.gc?.({ type: 'major', flavor: 'last-resort' });
}
