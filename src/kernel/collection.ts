/**
 * Lets callers share collections of all probes. A collection overwrites the results of the previous one, so it starts
 * only after all reads of those results have finished.
 */
export class Collection {
  readonly #collect: () => Promise<void>;
  readonly #now: () => number;
  /** The pending or running collection. All callers share it until it ends. */
  #next: Promise<void> | undefined;
  /** Resolves once all reads that were started so far have finished. */
  #read: Promise<void> = Promise.resolve();
  /** When the last collection ended, in milliseconds of the monotonic clock. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #ended = new Date(0);

  /** @param now returns milliseconds of a monotonic clock */
  constructor(collect: () => Promise<void>, now = () => performance.now()) {
    this.#collect = collect;
    this.#now = now;
  }

  /**
   * Joins the pending or running collection, or starts one. Returns the result of `read` after the collection.
   * @param read receives the time when the collection ended
   * @throws errors of the collection and of `read`
   */
  fresh<T>(read: (ended: Date) => Promise<T>): Promise<T> {
    this.#next ??= this.#run();
    return this.#hold(this.#next.then(() => read(this.#ended)));
  }

  /**
   * Calls `read` for the last collection if it ended less than `ageMs` ago and no new one has started. Otherwise, acts
   * like {@link fresh}.
   */
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

  /**
   * Makes the next collection wait for this read. The result of the read is dropped, because a chain of promises would
   * otherwise retain every page.
   */
  #hold<T>(answer: Promise<T>): Promise<T> {
    this.#read = Promise.allSettled([this.#read, answer]).then(() => undefined);
    return answer;
  }
}
