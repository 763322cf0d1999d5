import { bounded } from './bounded.ts';

/** The time in which a stage of the trial has to end. */
export class Deadline implements Disposable {
  readonly #expired: Promise<never>;
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#expired = promise;
    promise.catch(() => undefined);
    this.#timer = setTimeout(() => reject(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })), ms);
  }

  /** @throws an error with the code ETIMEDOUT if the time ends before the promise is settled */
  race<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => undefined);
    return Promise.race([promise, this.#expired]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** Returns the name of the error of a system call, of TLS or of HTTP. */
export function errnoOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return bounded(code ?? message);
}
