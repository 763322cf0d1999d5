/**
 * Lets callers share collections of all probes. A collection overwrites the results of the previous one, so it starts
 * only when all reads of the previous one have finished.
 */
export class Collection {
  readonly #collect: () => Promise<void>;
  readonly #now: () => number;
  /** The waiting or running collection. Callers that arrive in the meantime share it. */
  #next: Promise<void> | undefined;
  /** Resolves once all reads so far have finished. */
  #read: Promise<void> = Promise.resolve();
  /** When the last collection ended, on the monotonic clock and on the wall clock. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #ended = new Date(0);

  /** @param now returns milliseconds of a monotonic clock */
  constructor(collect: () => Promise<void>, now = () => performance.now()) {
    this.#collect = collect;
    this.#now = now;
  }

  /**
   * Joins the waiting or running collection, or starts one. Returns the result of `read` after it.
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
   * Makes the next collection wait for this read. The result is not kept, because otherwise the chained promises would
   * retain every page.
   */
  #hold<T>(answer: Promise<T>): Promise<T> {
    this.#read = Promise.allSettled([this.#read, answer]).then(() => undefined);
    return answer;
  }
}
