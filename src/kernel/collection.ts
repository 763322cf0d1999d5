/**
 * Shares and orders collections of all probes. A collection replaces the results of the previous one, so it waits until all reads of
 * that one have finished.
 */
export class Collection {
  readonly #collect: () => Promise<void>;
  readonly #now: () => number;
  /** Collection that waits or runs: callers share it. */
  #next: Promise<void> | undefined;
  /** Resolves once all reads so far have finished. */
  #read: Promise<void> = Promise.resolve();
  /** End of the last collection: on a monotonic clock, and on the wall clock. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #ended = new Date(0);

  /** @param now milliseconds of a monotonic clock */
  constructor(collect: () => Promise<void>, now = () => performance.now()) {
    this.#collect = collect;
    this.#now = now;
  }

  /**
   * Returns the result of `read` on a collection that has not ended yet; concurrent callers share one.
   * @param read receives the time at which the collection ended
   * @throws what the collection or `read` throws
   */
  fresh<T>(read: (ended: Date) => Promise<T>): Promise<T> {
    this.#next ??= this.#run();
    return this.#hold(this.#next.then(() => read(this.#ended)));
  }

  /** Does the same on the last collection, where it ended within `ageMs` and no other has begun. */
  recent<T>(ageMs: number, read: (ended: Date) => Promise<T>): Promise<T> {
    const isRecent = this.#next === undefined && this.#now() - this.#endedMs < ageMs;
    return isRecent ? this.#hold(read(this.#ended)) : this.fresh(read);
  }

  async #run(): Promise<void> {
    try {
      await this.#read;
      await this.#collect();
      this.#endedMs = this.#now();
      this.#ended = new Date();
    } finally {
      this.#next = undefined;
    }
  }

  /** Makes the next collection wait for the answer. The answer itself is dropped: a chain of answers would keep every page. */
  #hold<T>(answer: Promise<T>): Promise<T> {
    this.#read = Promise.allSettled([this.#read, answer]).then(() => undefined);
    return answer;
  }
}
