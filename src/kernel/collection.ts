/**
 * Shares and orders collections of all probes. A collection replaces what the one before has left, so that it waits until everything
 * that was asked of that one is read.
 */
export class Collection {
  readonly #collect: () => Promise<void>;
  readonly #now: () => number;
  /** Waits, or runs: callers share it. */
  #next: Promise<void> | undefined;
  /** Resolves once everything that was asked so far is read. */
  #read: Promise<void> = Promise.resolve();
  /** When the last one ended: by a clock that nobody sets, and by the wall clock. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #ended = new Date(0);

  /** @param now milliseconds of a clock that nobody sets */
  constructor(collect: () => Promise<void>, now = () => performance.now()) {
    this.#collect = collect;
    this.#now = now;
  }

  /**
   * What `read` makes of a collection that has not ended yet; callers at the same time share one.
   * @param read gets the time at which the collection ended
   * @throws what the collection or `read` throws
   */
  fresh<T>(read: (ended: Date) => Promise<T>): Promise<T> {
    this.#next ??= this.#run();
    return this.#hold(this.#next.then(() => read(this.#ended)));
  }

  /** The same of the last collection, where it ended within `ageMs` and no other has begun. */
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

  /** The next collection waits for the answer. What it was is forgotten: a chain of answers would keep every page. */
  #hold<T>(answer: Promise<T>): Promise<T> {
    this.#read = Promise.allSettled([this.#read, answer]).then(() => undefined);
    return answer;
  }
}
