import type { Server } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { RequestHandler } from 'express';
import type { Logger } from 'winston';
import type { ConfigStatus, Fault } from '#api/config.ts';
import { Clocks } from '#config/clocks.ts';
import { type ConfigMapRef, type ConfigMapVersion, ConfigMapWatcher, formatConfigMapRef } from '#config/configmap.ts';
import type { TimedSection } from '#config/document.ts';
import { ConfigError, pathText } from '#config/faults.ts';
import { InForce } from '#config/in_force.ts';
import { ConfigReader } from '#config/load.ts';
import { desiredKernel } from '#config/schema.ts';
import { type FileContent, FileWatcher, readContent } from '#config/watch.ts';
import { OBJECTS, readVersion } from '#core/assets.ts';
import type { Paths } from '#core/paths.ts';
import type { Labels } from '#core/selector.ts';
import { Ledger } from '#delivery/ledger.ts';
import { SinkSet } from '#delivery/sink_set.ts';
import { EventBus } from '#events/bus.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { apiAccess, readToken } from '#http/access.ts';
import { AgentMetrics, type KubernetesState } from '#http/agent_metrics.ts';
import type { ListenAddress } from '#http/listen_address.ts';
import { listenOnUnix } from '#http/unix_socket.ts';
import { KernelClient } from '#kernel/client.ts';
import type { ApiSession } from '#kubernetes/api.ts';
import { Cluster } from '#kubernetes/cluster.ts';
import { reportRejection } from '#kubernetes/rejection.ts';
import { PROBES } from '#probes/index.ts';
import { createApp } from '#server';
import { Lane } from './lane.ts';
import { LogShipping } from './log_shipping.ts';

export interface AgentOptions {
  readonly configFile: string | undefined;
  /** Instead of a file; takes `kubernetes`. */
  readonly configMap: ConfigMapRef | undefined;
  /** The Kubernetes API is asked. */
  readonly kubernetes: boolean;
  /** Name of this node. */
  readonly node: string;
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

/** How long a start waits for the Kubernetes API: for the names of Pods, which would else change a moment later, and for the configuration. */
const API_WAIT_MS = 3_000;

/** The running agent: configuration, kernel thread, events and HTTP, wired together. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #inForce: InForce;
  readonly #bus = new EventBus();
  readonly #ledger = new Ledger();
  readonly #lane: Lane;
  readonly #sinks: SinkSet;
  readonly #logShipping: LogShipping;
  readonly #kernel: KernelClient;
  #server: Server | undefined;
  #unixServer: Server | undefined;
  #watcher: FileWatcher | undefined;
  #session: ApiSession | undefined;
  #cluster: Cluster | undefined;
  #configMap: ConfigMapWatcher | undefined;
  readonly #ending = new AbortController();
  #nodeLabels: Labels;
  /** What was read last, of a file or a ConfigMap. */
  #content: FileContent | undefined;
  #version: ConfigMapVersion | undefined;
  #applied = false;
  #applying: Promise<void> = Promise.resolve();
  #status: ConfigStatus;

  private constructor(options: AgentOptions, clocks: Clocks) {
    const { log } = options;
    this.#options = options;
    this.#nodeLabels = options.nodeLabels;
    this.#inForce = new InForce({
      reader: new ConfigReader(PROBES),
      labels: () => this.#nodeLabels,
      clocks,
      ended: (sections) => this.#revert(sections),
    });
    this.#status = {
      file: options.configFile ?? null,
      configMap: options.configMap === undefined ? null : formatConfigMapRef(options.configMap),
      generation: 0,
      successful: false,
      appliedMs: 0,
      rejected: null,
    };
    this.#logShipping = new LogShipping(log, options.node);
    this.#sinks = new SinkSet({
      ledger: this.#ledger,
      kinds: RECORD_KINDS,
      log: (level, message) => log.log(level, message),
    });
    this.#lane = new Lane({
      node: options.node,
      probes: PROBES,
      ledger: this.#ledger,
      bus: this.#bus,
      peers: () => this.#cluster?.peers,
      deliver: (records) => this.#sinks.offer(records),
    });
    this.#kernel = new KernelClient({
      kernel: {
        paths: options.paths,
        objects: OBJECTS,
        node: options.node,
        kubernetes: options.kubernetes,
      },
      events: (events) => this.#lane.receive(events),
      pods: () => this.#cluster?.pods ?? [],
      log: (level, message) => log.log(level, message),
    });
  }

  /**
   * Resolves once the agent serves.
   * @throws {ConfigError} for a faulty configuration in a file; one in a ConfigMap is reported, and all defaults hold
   * @throws where the address cannot be listened on or /proc not be read
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { state: directory, log } = options;
    const agent = new Agent(options, await Clocks.open({ directory, warn: (message) => log.warn(message) }));
    try {
      agent.#content = options.configFile === undefined ? undefined : await readContent(options.configFile);
      // A fault that can be seen now is told before anything is started.
      if (agent.#content !== undefined) agent.#inForce.check(textOf(agent.#content));
      await agent.#listen();
      await agent.#connect();
      await agent.#kernel.start();
      await agent.#begin();
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    return agent;
  }

  /** The first configuration, and a watch for the next. */
  async #begin(): Promise<void> {
    const { configFile, configMap, log } = this.#options;
    if (this.#session !== undefined && configMap !== undefined) {
      const changed = (content: FileContent, version: ConfigMapVersion | undefined) => this.#reload(content, version);
      this.#configMap = new ConfigMapWatcher(this.#session, configMap, (level, text) => log.log(level, text), changed);
      await Promise.race([this.#configMap.firstRead, wait(API_WAIT_MS, undefined, { ref: false })]);
      this.#applying = this.#applying.then(() => this.#applyInstead());
      await this.#applying;
      return;
    }
    if (this.#content !== undefined) await this.#inForce.take(textOf(this.#content));
    this.#applying = this.#accept();
    await this.#applying;
    if (configFile !== undefined && this.#content !== undefined) {
      this.#watcher = new FileWatcher(configFile, this.#content, (changed) => this.#reload(changed));
    }
  }

  /** The defaults, where the ConfigMap was not there in time, or is faulty. */
  async #applyInstead(): Promise<void> {
    if (this.#applied) return;
    if (this.#status.rejected === null) {
      this.#reject([{ path: '', value: '', allowed: 'cannot be read: the Kubernetes API does not answer yet' }]);
    }
    this.#options.log.warn('there is no configuration to apply: all defaults hold until there is one');
    await this.#apply();
  }

  async #connect(): Promise<void> {
    const { kubernetes, node, log } = this.#options;
    if (!kubernetes) return;
    // The client library: only who needs it loads it.
    const { openSession } = await import('#kubernetes/session.ts');
    this.#session = openSession();
    this.#cluster = new Cluster({
      session: this.#session,
      node,
      log: (level, message) => log.log(level, message),
      pods: (update) => this.#tellKernel(this.#kernel.namePods(update)),
      nodeLabels: (labels) => this.#setNodeLabels(labels),
    });
    log.info(`Pods of the node ${node} by the Kubernetes API at ${this.#session.server}`);
    await this.#cluster.listed(API_WAIT_MS);
  }

  /** A thread that was lost meanwhile is replaced, and the next one is told everything. */
  #tellKernel(told: Promise<void>): void {
    told.catch((error: Error) => this.#options.log.debug(`the kernel thread was not told: ${error.message}`));
  }

  #setNodeLabels(given: Labels): void {
    const labels = { ...this.#options.nodeLabels, ...given };
    if (isDeepStrictEqual(labels, this.#nodeLabels)) return;
    this.#nodeLabels = labels;
    // They may choose other overrides of the same document.
    if (this.#applied && this.#content !== undefined) this.#reload(this.#content, this.#version);
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
    this.#ending.abort(new Error('the agent ends'));
    this.#watcher?.[Symbol.dispose]();
    this.#inForce[Symbol.dispose]();
    await this.#configMap?.[Symbol.asyncDispose]();
    await this.#cluster?.[Symbol.asyncDispose]();
    await this.#kernel[Symbol.asyncDispose]();
    this.#lane[Symbol.dispose]();
    await this.#sinks.close();
    await this.#logShipping[Symbol.asyncDispose]();
    for (const server of [this.#server, this.#unixServer]) {
      server?.closeAllConnections();
      server?.close();
    }
  }

  async #listen(): Promise<void> {
    const deps = {
      version: readVersion(),
      kernel: this.#kernel,
      metrics: new AgentMetrics(),
      bus: this.#bus,
      ledger: this.#ledger,
      unfolded: () => this.#lane.unfolded,
      sinks: this.#sinks,
      config: () => this.#status,
      document: () => this.#inForce.config.document,
      node: this.#options.node,
      started: new Date(),
      kubernetes: () => this.#kubernetesState(),
      ready: () => this.#applied,
      until: (probe: string) => this.#inForce.until(probe),
    };
    const { apiSocket, apiTokenFile, listen } = this.#options;
    if (apiTokenFile !== undefined) await readToken(apiTokenFile);
    const app = createApp(deps, apiAccess(apiTokenFile));
    await new Promise<void>((resolve, reject) => {
      const listening = (error?: Error) => (error === undefined ? resolve() : reject(error));
      const { host, port } = listen;
      this.#server = host === undefined ? app.listen(port, listening) : app.listen(port, host, listening);
    });
    if (apiSocket === undefined) return;
    // Who may open the file, may read.
    const open: RequestHandler = (_request, _response, next) => next();
    this.#unixServer = await listenOnUnix(apiSocket, createApp(deps, open));
  }

  /** Faults of a later configuration never end the agent: the one in force stays. */
  #reload(content: FileContent, version?: ConfigMapVersion): void {
    const isRead = content === this.#content;
    this.#content = content;
    this.#version = version;
    this.#applying = this.#applying.then(async () => {
      try {
        const { config } = this.#inForce;
        await this.#inForce.take(textOf(content));
        if (isRead && isDeepStrictEqual(config, this.#inForce.config)) return;
        await this.#accept();
        this.#options.log.info(`configuration ${this.#status.generation} applied`);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        this.#reject(error.faults);
        this.#options.log.error(`the new configuration is not applied:\n${error.message}`);
        this.#report(error, version);
      }
    });
  }

  /** By itself, and not as another configuration: the document is the same. */
  #revert(sections: readonly TimedSection[]): void {
    for (const { path } of sections) this.#options.log.info(`${pathText(path)}: its time is over`);
    this.#applying = this.#applying.then(() => this.#apply());
  }

  #kubernetesState(): KubernetesState | undefined {
    const state = this.#cluster?.state;
    if (state === undefined || this.#configMap === undefined) return state;
    return { ...state, resources: [...state.resources, this.#configMap.tally] };
  }

  /** Where everybody can see it: on the ConfigMap. */
  #report(error: ConfigError, version: ConfigMapVersion | undefined): void {
    const { configMap, node, log } = this.#options;
    if (this.#session === undefined || configMap === undefined || version === undefined) return;
    const { namespace, name } = configMap;
    const rejection = { namespace, name, ...version, reason: error.message };
    reportRejection(this.#session, rejection, node, this.#ending.signal).catch((failure: Error) => {
      if (!this.#ending.signal.aborted) log.warn(`no Event tells of the rejected configuration: ${failure.message}`);
    });
  }

  /** What is in force now; all defaults before a configuration was taken. */
  async #apply(): Promise<void> {
    const { config } = this.#inForce;
    this.#options.log.level = config.log.level;
    await this.#cluster?.setPeers(config.peers);
    await this.#logShipping.apply(config.log.loki);
    this.#bus.historyMax = config.events.history;
    this.#lane.configure(config.events);
    await this.#sinks.apply(config.sinks);
    try {
      await this.#kernel.labelPods(config.labels);
      await this.#kernel.configure(desiredKernel(config));
    } catch (error) {
      // The thread was lost meanwhile; the next one gets the same wish.
      this.#options.log.warn(`the probes follow with the next kernel thread: ${(error as Error).message}`);
    }
    this.#applied = true;
  }

  async #accept(): Promise<void> {
    await this.#apply();
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

/** @throws {ConfigError} where it could not be read */
function textOf(content: FileContent): string {
  if ('error' in content) throw new ConfigError([{ path: '', value: '', allowed: `cannot be read: ${content.error}` }]);
  return content.text;
}
