import { type ApiResponse, CredentialError } from './api.ts';

/** A request that can be aborted, with its response. */
export class Call implements AsyncDisposable {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #abort = () => this.#controller.abort(this.#parent.reason);
  response: ApiResponse | undefined;

  constructor(parent: AbortSignal) {
    this.#parent = parent;
    parent.addEventListener('abort', this.#abort, { once: true });
    if (parent.aborted) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /**
   * Returns the result of `work`, which must settle when the signal is aborted.
   * @throws if `work` takes longer than `ms` milliseconds; the request is then aborted
   */
  async within<R>(work: Promise<R>, ms: number, late: string): Promise<R> {
    const timer = setTimeout(() => this.#controller.abort(new Error(`${late} within ${ms / 1000} s`)), ms);
    try {
      return await work;
    } catch (error) {
      throw this.signal.aborted && !(error instanceof CredentialError) ? this.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Yields the chunks of the body. Destroys the body if nothing arrives for `idleMs` milliseconds. */
  async *body(idleMs: number): AsyncGenerator<Buffer> {
    const body = this.response?.body;
    if (body === undefined) throw new Error('there is no response yet');
    const timer = setTimeout(() => body.destroy(new Error(`sent nothing for ${idleMs / 1000} s`)), idleMs);
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        timer.refresh();
        yield chunk;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Whether this error comes from the connection. If the reader of the body fails, the body is destroyed with a
   * different error.
   */
  isBrokenBy(error: unknown): boolean {
    return this.response?.body.errored === error;
  }

  end(): void {
    this.response?.body.destroy(new Error('took too long'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parent.removeEventListener('abort', this.#abort);
    this.response?.body.on('error', () => undefined);
    this.response?.body.destroy();
    this.#controller.abort(new Error('done'));
  }
}
