/** A set that drops unused elements. Each element stays for one to two periods after it was last added or requested. */
export class RecentSet<T> {
  readonly #periodMs: number;
  readonly #max: number;
  readonly #now: () => number;
  #young = new Set<T>();
  #old: ReadonlySet<T> = new Set();
  #turnedMs: number;

  /**
   * @param max number of elements after which a period ends early, so that the set never has more than twice this
   * number
   * @param now monotonic clock, in milliseconds
   */
  constructor(periodMs: number, max: number, now: () => number) {
    this.#periodMs = periodMs;
    this.#max = max;
    this.#now = now;
    this.#turnedMs = now();
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  has(element: T): boolean {
    if (this.#young.has(element)) return true;
    if (!this.#old.has(element)) return false;
    this.add(element);
    return true;
  }

  add(element: T): void {
    const nowMs = this.#now();
    if (nowMs - this.#turnedMs >= this.#periodMs || this.#young.size >= this.#max) {
      this.#old = nowMs - this.#turnedMs >= 2 * this.#periodMs ? new Set() : this.#young;
      this.#young = new Set();
      this.#turnedMs = nowMs;
    }
    this.#young.add(element);
  }
}
