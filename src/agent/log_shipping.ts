import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'winston';
import type { LogLokiConfig } from '#config/sinks.ts';
import { withDeadline } from '#core/deadline.ts';
import type { Files } from '#files/files.ts';
import type { LokiShipping } from './log_loki.ts';

const FLUSH_MS = 2_000;

/** Adds to the agent's log a way to Loki, where the configuration asks for one. */
export class LogShipping {
  readonly #log: Logger;
  readonly #node: string;
  readonly #files: Files;
  #config: LogLokiConfig | undefined;
  #shipping: LokiShipping | undefined;
  #failure = '';

  constructor(log: Logger, node: string, files: Files) {
    this.#log = log;
    this.#node = node;
    this.#files = files;
  }

  async apply(config: LogLokiConfig | undefined): Promise<void> {
    if (isDeepStrictEqual(config, this.#config)) return;
    await this.close();
    this.#config = config;
    if (config === undefined) return;
    const { createLokiTransport } = await import('./log_loki.ts');
    try {
      this.#shipping = await createLokiTransport(config, this.#node, this.#files, (message) => this.#failed(message));
      this.#log.add(this.#shipping.transport);
    } catch (error) {
      // Not a reason to be without the rest of the configuration.
      this.#failed((error as Error).message);
    }
  }

  /** Sends what is left, for a moment. */
  async close(deadlineMs = FLUSH_MS): Promise<void> {
    const shipping = this.#shipping;
    this.#shipping = undefined;
    this.#config = undefined;
    if (shipping === undefined) return;
    const { transport } = shipping;
    this.#log.remove(transport);
    shipping[Symbol.dispose]();
    await withDeadline(Promise.resolve(transport.close?.()), deadlineMs, 'late').catch(() => undefined);
  }

  #failed(message: string): void {
    if (message === this.#failure) return;
    this.#failure = message;
    this.#log.error(`a part of the log did not get to Loki: ${message}`);
  }
}
