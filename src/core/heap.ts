/** Growth factor within {@link WINDOW} looks that counts as a burst; slower growth is normal for V8. */
const BURST = 1.1;
const WINDOW = 3;
/** Growth factor between two looks below which memory is still; {@link STILL_LOOKS} such looks in a row end the burst. */
const STILL = 1.02;
const STILL_LOOKS = 2;

/** Detects the end of a burst, by looks at the memory of the process at equal intervals. */
export class BurstWatch {
  readonly #earlier: number[] = [];
  #hasGrown = false;
  #still = 0;

  /**
   * @param resident resident bytes of the process now
   * @returns whether a burst has just ended: true once for each burst
   */
  look(resident: number): boolean {
    const last = this.#earlier.at(-1) ?? resident;
    if (resident > BURST * Math.min(resident, ...this.#earlier)) this.#hasGrown = true;
    this.#earlier.push(resident);
    if (this.#earlier.length > WINDOW) this.#earlier.shift();
    this.#still = this.#hasGrown && resident <= STILL * last ? this.#still + 1 : 0;
    if (this.#still < STILL_LOOKS) return false;
    // The next burst is measured from the memory that is left then.
    this.#earlier.length = 0;
    this.#hasGrown = false;
    this.#still = 0;
    return true;
  }
}

/**
 * Returns memory to the kernel that V8 has freed in this thread and keeps for later. This takes some tenths of a second of CPU, in which
 * nothing else runs. Does nothing where Node.js runs without `--expose-gc`.
 */
export function giveBackMemory(): void {
  // Any other collection leaves the pages of dead objects in V8's pool.
  globalThis.gc?.({ type: 'major', flavor: 'last-resort' });
}
