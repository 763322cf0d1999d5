import { type ApiResponse, CredentialError } from './api.ts';

/** One request, and the means to end it. */
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

  /** @param work ends once the signal is aborted. @throws once the time is over, and ends the request then */
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

  /** Returns the body's data; the call is ended where nothing arrives for this time. */
  async *body(idleMs: number): AsyncGenerator<Buffer> {
    const body = this.response?.body;
    if (body === undefined) throw new Error('there is no answer yet');
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

  /** Says whether the connection failed, and not its reader: a failing reader destroys the body as well, with an error of its own. */
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
