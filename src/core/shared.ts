/** One user's hold on something shared. Disposing it twice is fine. */
export interface Lease<T> extends AsyncDisposable {
  readonly value: T;
}

/**
 * Something that several users share: opened for the first of them, closed after the last, untouched by everyone in
 * between. Openings and closings happen one at a time, in the order of the calls.
 */
export class Shared<T extends Disposable | AsyncDisposable> {
  readonly #open: () => Promise<T>;
  #value: T | undefined;
  #users = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: () => Promise<T>) {
    this.#open = open;
  }

  /** Users that hold it now. */
  get users(): number {
    return this.#users;
  }

  /** @throws what opening threw; the next caller tries again */
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
