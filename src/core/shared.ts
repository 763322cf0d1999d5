/** One user's hold on a shared resource. Disposing it twice is allowed. */
export interface Lease<T> extends AsyncDisposable {
  readonly value: T;
}

/**
 * A resource that several users share: opened for the first of them, closed after the last, unaffected by the users in between. It opens
 * and closes one step at a time, in the order of the calls.
 */
export class Shared<T extends Disposable | AsyncDisposable> {
  readonly #open: () => Promise<T>;
  #value: T | undefined;
  #users = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: () => Promise<T>) {
    this.#open = open;
  }

  /** Number of users that hold it now. */
  get users(): number {
    return this.#users;
  }

  /** Acquires a hold. @throws the error of opening; the next caller tries again */
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
