import type { Server } from 'node:http';
import { hostname } from 'node:os';
import type { RequestHandler } from 'express';
import type { Logger } from 'winston';
import { AgentMetrics } from './agent_metrics.ts';
import { apiAccess, readToken } from './api_access.ts';
import { OBJECTS, readVersion } from './assets.ts';
import { Clocks } from './config/clocks.ts';
import type { TimedSection } from './config/document.ts';
import { ConfigError, type Fault, pathText } from './config/faults.ts';
import { InForce } from './config/in_force.ts';
import { ConfigReader } from './config/load.ts';
import { type Config, desiredKernel } from './config/schema.ts';
import type { ConfigStatus } from './config/status.ts';
import { type FileContent, FileWatcher, readContent } from './config/watch.ts';
import { EventBus } from './events/bus.ts';
import { SinkQueue } from './events/sink_queue.ts';
import { StdoutSink } from './events/sinks/stdout.ts';
import { KernelClient } from './kernel_client.ts';
import type { ListenAddress } from './listen_address.ts';
import type { Paths } from './paths.ts';
import { PROBES } from './probes/index.ts';
import type { Labels } from './selector.ts';
import { createApp } from './server.ts';
import { listenOnUnix } from './unix_socket.ts';

export interface AgentOptions {
  readonly configFile: string | undefined;
  readonly listen: ListenAddress;
  /** Path of a Unix socket to serve on as well. */
  readonly apiSocket: string | undefined;
  readonly apiTokenFile: string | undefined;
  readonly paths: Paths;
  /** Folder for what survives a restart. */
  readonly state: string;
  /** Of this node: what `nodes` in the configuration selects by. */
  readonly nodeLabels: Labels;
  readonly log: Logger;
}

/** Time that sinks get to take what is left when the agent ends. */
const FLUSH_MS = 5_000;

/** The running agent: configuration, kernel thread, events and HTTP, wired together. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #inForce: InForce;
  readonly #bus = new EventBus();
  readonly #kernel: KernelClient;
  #server: Server | undefined;
  #unixServer: Server | undefined;
  #watcher: FileWatcher | undefined;
  #stdout: SinkQueue | undefined;
  #applied = false;
  #applying: Promise<void> = Promise.resolve();
  #status: ConfigStatus;

  private constructor(options: AgentOptions, clocks: Clocks) {
    const { log } = options;
    this.#options = options;
    this.#inForce = new InForce({
      reader: new ConfigReader(PROBES),
      labels: options.nodeLabels,
      clocks,
      ended: (sections) => this.#revert(sections),
    });
    this.#status = {
      file: options.configFile ?? null,
      generation: 0,
      successful: false,
      appliedMs: 0,
      rejected: null,
    };
    this.#kernel = new KernelClient({
      kernel: { paths: options.paths, objects: OBJECTS, node: process.env['NODE_NAME'] ?? hostname() },
      events: (events) => this.#bus.publish(events),
      log: (level, message) => log.log(level, message),
    });
  }

  /**
   * Resolves once the agent serves.
   * @throws {ConfigError} for a faulty configuration
   * @throws where the address cannot be listened on or /proc not be read
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { state: directory, log } = options;
    const agent = new Agent(options, await Clocks.open({ directory, warn: (message) => log.warn(message) }));
    const content = options.configFile === undefined ? undefined : await readContent(options.configFile);
    try {
      if (content !== undefined) await agent.#take(content);
      await agent.#listen();
      await agent.#kernel.start();
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    agent.#applying = agent.#accept();
    await agent.#applying;
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
    this.#inForce[Symbol.dispose]();
    await this.#kernel[Symbol.asyncDispose]();
    await this.#stdout?.close(FLUSH_MS);
    for (const server of [this.#server, this.#unixServer]) {
      server?.closeAllConnections();
      server?.close();
    }
  }

  async #take(content: FileContent): Promise<void> {
    if ('error' in content)
      throw new ConfigError([{ path: '', value: '', allowed: `cannot be read: ${content.error}` }]);
    await this.#inForce.take(content.text);
  }

  async #listen(): Promise<void> {
    const deps = {
      version: readVersion(),
      kernel: this.#kernel,
      metrics: new AgentMetrics(),
      bus: this.#bus,
      config: () => this.#status,
      ready: () => this.#applied,
      until: (probe: string) => this.#inForce.until(probe),
    };
    const { apiSocket, apiTokenFile, listen } = this.#options;
    if (apiTokenFile !== undefined) await readToken(apiTokenFile);
    const app = createApp(deps, apiAccess(apiTokenFile));
    await new Promise<void>((resolve, reject) => {
      this.#server = app.listen(listen.port, listen.host, (error?: Error) =>
        error === undefined ? resolve() : reject(error),
      );
    });
    if (apiSocket === undefined) return;
    // Who may open the file, may read.
    const open: RequestHandler = (_request, _response, next) => next();
    this.#unixServer = await listenOnUnix(apiSocket, createApp(deps, open));
  }

  /** Faults of a later configuration never end the agent: the one in force stays. */
  #reload(content: FileContent): void {
    this.#applying = this.#applying.then(async () => {
      try {
        await this.#take(content);
        await this.#accept();
        this.#options.log.info(`configuration ${this.#status.generation} applied`);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        this.#reject(error.faults);
        this.#options.log.error(`the new configuration is not applied:\n${error.message}`);
      }
    });
  }

  /** By itself, and not as another configuration: the document is the same. */
  #revert(sections: readonly TimedSection[]): void {
    for (const { path } of sections) this.#options.log.info(`${pathText(path)}: its time is over`);
    this.#applying = this.#applying.then(() => this.#apply());
  }

  async #apply(): Promise<void> {
    const { config } = this.#inForce;
    this.#options.log.level = config.log.level;
    await this.#applySinks(config);
    try {
      await this.#kernel.configure(desiredKernel(config));
    } catch (error) {
      // The thread was lost meanwhile; the next one gets the same wish.
      this.#options.log.warn(`the probes follow with the next kernel thread: ${(error as Error).message}`);
    }
  }

  async #accept(): Promise<void> {
    await this.#apply();
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

  async #applySinks({ sinks }: Config): Promise<void> {
    const { log } = this.#options;
    if (sinks.stdout === undefined) this.#stdout = undefined;
    else {
      this.#stdout ??= new SinkQueue(new StdoutSink(), this.#bus.ledger, (error) =>
        log.error(`events could not be written to stdout: ${error.message}`),
      );
    }
    const removed = this.#bus.setSinks(this.#stdout === undefined ? [] : [this.#stdout]);
    await Promise.all(removed.map((sink) => sink.close(FLUSH_MS)));
  }
}
