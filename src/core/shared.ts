/** One user's lease of a shared resource. It may be disposed more than once. */
export interface Lease<T> extends AsyncDisposable {
  readonly value: T;
}

/**
 * A resource that is opened for its first user and closed after its last user. Calls that open or close the resource
 * run one at a time, in the order in which they are made.
 */
export class Shared<T extends Disposable | AsyncDisposable> {
  readonly #open: () => Promise<T>;
  #value: T | undefined;
  #users = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: () => Promise<T>) {
    this.#open = open;
  }

  /** Current number of users. */
  get users(): number {
    return this.#users;
  }

  /**
   * Adds a user, and opens the resource for the first one.
   * @throws if opening fails; the next call tries again
   */
  acquire(): Promise<Lease<T>> {
    return this.#next(async () => {
      this.#value ??= await this.#open();
      const value = this.#value;
      this.#users++;
      let isHeld = true;
      return {
        value,
        [Symbol.asyncDispose]: async () => {
          if (!isHeld) return;
          isHeld = false;
          await this.#next(() => this.#release());
        },
      };
    });
  }

  async #release(): Promise<void> {
    this.#users--;
    const value = this.#value;
    if (this.#users > 0 || value === undefined) return;
    this.#value = undefined;
    if (Symbol.asyncDispose in value) await value[Symbol.asyncDispose]();
    else value[Symbol.dispose]();
  }

  #next<R>(step: () => Promise<R>): Promise<R> {
    const result = this.#turn.then(step);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}
