import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'winston';
import type { LogLokiConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';
import type { LokiTransport } from './log_loki.ts';

const FLUSH_MS = 1_500;

/** Adds a Loki transport to the agent's log while the configuration enables it. */
export class LogShipping {
  readonly #log: Logger;
  readonly #node: string;
  readonly #files: Files;
  #config: LogLokiConfig | undefined;
  #transport: LokiTransport | undefined;

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
    const { LokiTransport } = await import('./log_loki.ts');
    this.#transport = new LokiTransport(config, this.#node, this.#files, (level, message) => this.#log[level](message));
    this.#log.add(this.#transport);
  }

  /** Stops shipping. First sends the queued messages, and gives up after `deadlineMs`. */
  async close(deadlineMs = FLUSH_MS): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    this.#config = undefined;
    if (transport === undefined) return;
    this.#log.remove(transport);
    await transport.flush(deadlineMs);
  }
}
