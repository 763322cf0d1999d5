import type { ProbeScope } from '#probe/contract.ts';
import type { EventSet, Publish } from '#probe/event.ts';

/** What a probe has acquired, and how it is taken down again. */
export class Scope implements ProbeScope<EventSet>, AsyncDisposable {
  readonly publish: Publish<EventSet>;
  readonly warn: (message: string) => void;
  readonly #controller = new AbortController();
  readonly #resources = new AsyncDisposableStack();

  constructor(publish: Publish<EventSet>, warn: (message: string) => void) {
    this.publish = publish;
    this.warn = warn;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  own<R extends Disposable | AsyncDisposable>(resource: R): R {
    if (this.#resources.disposed) {
      // The probe came too late: nobody would close this any more.
      void dispose(resource);
      throw new Error('the probe was closed while it opened');
    }
    return this.#resources.use(resource);
  }

  /** Releases everything, the last first; one that throws does not keep the others. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort(new Error('the probe was closed'));
    await this.#resources.disposeAsync();
  }
}

async function dispose(resource: Disposable | AsyncDisposable): Promise<void> {
  if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
  else resource[Symbol.dispose]();
}
