import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'winston';
import type { LogLokiConfig } from '#config/sinks.ts';
import { withDeadline } from '#core/deadline.ts';

const FLUSH_MS = 2_000;

type Transport = Parameters<Logger['add']>[0];

/** Adds to the agent's log a way to Loki, where the configuration asks for one. */
export class LogShipping implements AsyncDisposable {
  readonly #log: Logger;
  readonly #node: string;
  #config: LogLokiConfig | undefined;
  #transport: Transport | undefined;
  #failure = '';

  constructor(log: Logger, node: string) {
    this.#log = log;
    this.#node = node;
  }

  async apply(config: LogLokiConfig | undefined): Promise<void> {
    if (isDeepStrictEqual(config, this.#config)) return;
    await this[Symbol.asyncDispose]();
    this.#config = config;
    if (config === undefined) return;
    const { createLokiTransport } = await import('./log_loki.ts');
    try {
      this.#transport = createLokiTransport(config, this.#node, (message) => this.#failed(message));
      this.#log.add(this.#transport);
    } catch (error) {
      // Not a reason to be without the rest of the configuration.
      this.#failed((error as Error).message);
    }
  }

  /** Sends what is left, for a moment. */
  async [Symbol.asyncDispose](): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    this.#config = undefined;
    if (transport === undefined) return;
    this.#log.remove(transport);
    await withDeadline(Promise.resolve(transport.close?.()), FLUSH_MS, 'late').catch(() => undefined);
  }

  #failed(message: string): void {
    if (message === this.#failure) return;
    this.#failure = message;
    this.#log.error(`a part of the log did not get to Loki: ${message}`);
  }
}
