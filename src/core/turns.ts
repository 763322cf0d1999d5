/** Thrown if a task waited too long for its turn. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

interface Waiting {
  readonly start: () => void;
}

export interface TurnOptions {
  /** Removes the task from the queue on abort, if it is still waiting. */
  readonly signal?: AbortSignal | undefined;
  /** Maximum wait in milliseconds. */
  readonly waitMs: number;
}

/**
 * Limits the number of concurrent tasks. The owners of waiting tasks take turns, so an owner with many tasks delays
 * every other owner by at most one task.
 */
export class Turns {
  readonly #max: number;
  #running = 0;
  /** Waiting tasks by owner. The first owner in the map has the next turn. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Number of waiting tasks. */
  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Runs a task when it is the owner's turn.
   * @throws {BusyError} if the task waited longer than `waitMs`
   * @throws the signal's reason if the signal is aborted before the turn, or the error of the task
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
      const timer = setTimeout(() => leave(new BusyError(`timed out while ${this.#max} others were served`)), waitMs);
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

  /** Starts the next waiting task, if any. */
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
