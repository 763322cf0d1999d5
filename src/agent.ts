import type { Server } from 'node:http';
import { hostname } from 'node:os';
import type { Logger } from 'winston';
import { AgentMetrics } from './agent_metrics.ts';
import { OBJECTS, readVersion } from './assets.ts';
import { ConfigError, type Fault } from './config/faults.ts';
import { ConfigReader } from './config/load.ts';
import { type Config, desiredProbes } from './config/schema.ts';
import type { ConfigStatus } from './config/status.ts';
import { type FileContent, FileWatcher, readContent } from './config/watch.ts';
import { EventBus } from './events/bus.ts';
import { EventPipeline } from './events/pipeline.ts';
import { SinkSet } from './events/sink_set.ts';
import { KernelClient } from './kernel_client.ts';
import type { ListenAddress } from './listen_address.ts';
import { LogShipping } from './log_shipping.ts';
import type { Paths } from './paths.ts';
import { PROBES } from './probes/index.ts';
import { createApp } from './server.ts';

export interface AgentOptions {
  readonly configFile: string | undefined;
  readonly listen: ListenAddress;
  readonly paths: Paths;
  readonly log: Logger;
}

/** The running agent: configuration, kernel thread, events and HTTP, wired together. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #reader = new ConfigReader(PROBES);
  readonly #bus = new EventBus();
  readonly #pipeline = new EventPipeline(this.#bus, PROBES);
  readonly #sinks: SinkSet;
  readonly #logShipping: LogShipping;
  readonly #kernel: KernelClient;
  #server: Server | undefined;
  #watcher: FileWatcher | undefined;
  #applied = false;
  #applying: Promise<void> = Promise.resolve();
  #status: ConfigStatus;

  private constructor(options: AgentOptions) {
    const { log } = options;
    this.#options = options;
    this.#status = {
      file: options.configFile ?? null,
      generation: 0,
      successful: false,
      appliedMs: 0,
      rejected: null,
    };
    const node = process.env['NODE_NAME'] ?? hostname();
    this.#logShipping = new LogShipping(log, node);
    this.#sinks = new SinkSet(this.#bus, (level, message) => log.log(level, message));
    this.#kernel = new KernelClient({
      kernel: { paths: options.paths, objects: OBJECTS, node },
      events: (events) => this.#pipeline.take(events),
      log: (level, message) => log.log(level, message),
    });
  }

  /**
   * Resolves once the agent serves.
   * @throws {ConfigError} for a faulty configuration
   * @throws where the address cannot be listened on or /proc not be read
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const agent = new Agent(options);
    const content = options.configFile === undefined ? undefined : await readContent(options.configFile);
    const config = content === undefined ? agent.#reader.defaults : agent.#parse(content);
    try {
      await agent.#listen();
      await agent.#kernel.start();
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    await agent.#apply(config);
    if (options.configFile !== undefined && content !== undefined) {
      agent.#watcher = new FileWatcher(options.configFile, content, (changed) => agent.#reload(changed));
    }
    return agent;
  }

  /** `HOST:PORT` that the agent serves on. */
  get address(): string {
    const address = this.#server?.address();
    if (address === null || address === undefined || typeof address === 'string') return '';
    const { family, address: host, port } = address;
    return family === 'IPv6' ? `[${host}]:${port}` : `${host}:${port}`;
  }

  /** A thread hangs in the kernel: process.exit() would wait for it for ever. */
  get isStuck(): boolean {
    return this.#kernel.stuckThreads > 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher?.[Symbol.dispose]();
    await this.#kernel[Symbol.asyncDispose]();
    this.#pipeline[Symbol.dispose]();
    await this.#sinks.close();
    await this.#logShipping[Symbol.asyncDispose]();
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  #parse(content: FileContent): Config {
    if ('error' in content)
      throw new ConfigError([{ path: '', value: '', allowed: `cannot be read: ${content.error}` }]);
    return this.#reader.parse(content.text);
  }

  #listen(): Promise<void> {
    const app = createApp({
      version: readVersion(),
      kernel: this.#kernel,
      metrics: new AgentMetrics(),
      bus: this.#bus,
      pipeline: this.#pipeline,
      sinks: this.#sinks,
      config: () => this.#status,
      ready: () => this.#applied,
    });
    const { host, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server = app.listen(port, host, (error?: Error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  /** Faults of a later configuration never end the agent: the one in force stays. */
  #reload(content: FileContent): void {
    this.#applying = this.#applying.then(async () => {
      try {
        await this.#apply(this.#parse(content));
        this.#options.log.info(`configuration ${this.#status.generation} applied`);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        this.#reject(error.faults);
        this.#options.log.error(`the new configuration is not applied:\n${error.message}`);
      }
    });
  }

  async #apply(config: Config): Promise<void> {
    this.#options.log.level = config.log.level;
    await this.#logShipping.apply(config.log.loki);
    this.#bus.historyMax = config.events.history;
    this.#pipeline.configure(config.events);
    await this.#sinks.apply(config.sinks);
    try {
      await this.#kernel.configure(desiredProbes(config));
    } catch (error) {
      // The thread was lost meanwhile; the next one gets the same wish.
      this.#options.log.warn(`the probes follow with the next kernel thread: ${(error as Error).message}`);
    }
    this.#applied = true;
    this.#status = {
      ...this.#status,
      generation: this.#status.generation + 1,
      successful: true,
      appliedMs: Date.now(),
    };
  }

  #reject(faults: readonly Fault[]): void {
    this.#status = { ...this.#status, successful: false, rejected: { at: new Date().toISOString(), faults } };
  }
}
