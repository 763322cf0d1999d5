/** The work got no turn in time. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

interface Waiting {
  readonly start: () => void;
}

export interface TurnOptions {
  /** Rejects work that still waits. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait in milliseconds. */
  readonly waitMs: number;
}

/** Runs a bounded number of works at a time. Owners are served in turn: an owner with a thousand works delays each other owner by one. */
export class Turns {
  readonly #max: number;
  #running = 0;
  /** Waiting work by owner; the owner whose turn is next comes first. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Number of works that wait. */
  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Runs the work once it is its turn, which lasts until the work is settled.
   * @throws {BusyError} where it got no turn in time
   * @throws the signal's reason where it was aborted before its turn, and errors of the work
   */
  async run<T>(owner: string, work: () => Promise<T>, options: TurnOptions): Promise<T> {
    options.signal?.throwIfAborted();
    if (this.#running >= this.#max) await this.#wait(owner, options);
    else this.#running++;
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #wait(owner: string, { signal, waitMs }: TurnOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#waiting.get(owner) ?? [];
      this.#waiting.set(owner, queue);
      const leave = (error: Error) => {
        settle();
        queue.splice(queue.indexOf(mine), 1);
        if (queue.length === 0) this.#waiting.delete(owner);
        reject(error);
      };
      const abort = () => leave(signal?.reason as Error);
      const timer = setTimeout(
        () => leave(new BusyError(`${this.#max} others were served for the whole time`)),
        waitMs,
      );
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      const mine: Waiting = {
        start: () => {
          settle();
          resolve();
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      queue.push(mine);
    });
  }

  /** Passes the turn on. */
  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#running--;
      return;
    }
    const [owner, queue] = first;
    const next = queue.shift();
    this.#waiting.delete(owner);
    if (queue.length > 0) this.#waiting.set(owner, queue);
    next?.start();
  }
}
