import { setTimeout as wait } from 'node:timers/promises';
import { type ConfigMapRef, type ConfigMapVersion, ConfigMapWatcher, formatConfigMapRef } from '#config/configmap.ts';
import type { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { SectionExpiry } from '#config/section_expiry.ts';
import { type FileContent, FileWatcher, readContent } from '#config/watch.ts';
import { OBJECTS, readVersion } from '#core/assets.ts';
import { withDeadline } from '#core/deadline.ts';
import type { Paths } from '#core/paths.ts';
import type { Labels } from '#core/selector.ts';
import { Ledger } from '#delivery/ledger.ts';
import { FLUSH_MS, SinkSet } from '#delivery/sink_set.ts';
import { EventBus } from '#events/bus.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { Files } from '#files/files.ts';
import { AgentMetrics, type KubernetesState } from '#http/agent_metrics.ts';
import { Scrapers } from '#http/scrapers.ts';
import { KernelClient } from '#kernel/client.ts';
import type { ApiSession } from '#kubernetes/api.ts';
import { Cluster } from '#kubernetes/cluster.ts';
import type { KubernetesUse } from '#kubernetes/mode.ts';
import { reportRejection } from '#kubernetes/rejection.ts';
import { PROBES } from '#probes/index.ts';
import { readPortRange } from '#sources/procfs/port_range.ts';
import { type ConfigFollower, ConfigLoop } from './config_loop.ts';
import { Lane } from './lane.ts';
import { LogShipping } from './log_shipping.ts';
import { keepMemory } from './memory.ts';
import { Serving, type ServingOptions } from './serving.ts';

export interface AgentOptions extends ServingOptions {
  readonly configFile: string | undefined;
  /** Source of the configuration in place of a file; takes `kubernetes`. */
  readonly configMap: ConfigMapRef | undefined;
  readonly kubernetes: KubernetesUse;
  /** Name of this node. */
  readonly node: string;
  readonly paths: Paths;
  /** Folder for data that survives a restart. */
  readonly state: string;
  /** Labels of this node, by which `nodes` in the configuration selects. */
  readonly nodeLabels: Labels;
  /** Aborts a start that is under way. */
  readonly stop: AbortSignal;
}

/** Milliseconds that a shutdown may take, and the parts of it for requests to others, and for the rest of the log. */
const END_MS = 4_700;
const ASKING_MS = 300;
const LOG_MS = 300;

/**
 * Milliseconds that a start waits for the Kubernetes API: for the names of Pods, which would otherwise change a moment later, and for the
 * configuration.
 */
const API_WAIT_MS = 3_000;

/** The running agent: configuration, kernel thread, events and HTTP, wired together. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #config: ConfigLoop;
  readonly #bus = new EventBus();
  readonly #ledger = new Ledger();
  readonly #files: Files;
  readonly #lane: Lane;
  readonly #sinks: SinkSet;
  readonly #logShipping: LogShipping;
  readonly #kernel: KernelClient;
  readonly #serving = new Serving();
  readonly #scrapers = new Scrapers();
  #memory: AsyncDisposable | undefined;
  #watcher: FileWatcher | undefined;
  #session: ApiSession | undefined;
  #cluster: Cluster | undefined;
  #configMap: ConfigMapWatcher | undefined;
  readonly #ending = new AbortController();

  private constructor(options: AgentOptions, expiry: SectionExpiry, files: Files) {
    const { log } = options;
    this.#options = options;
    this.#files = files;
    this.#logShipping = new LogShipping(log, options.node, files);
    this.#sinks = new SinkSet({
      ledger: this.#ledger,
      kinds: RECORD_KINDS,
      files: this.#files,
      log: (level, message) => log.log(level, message),
    });
    this.#lane = new Lane({
      node: options.node,
      probes: PROBES,
      ephemeral: readPortRange(options.paths.proc),
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
        kubernetes: options.kubernetes.asked,
      },
      events: (events) => this.#lane.receive(events),
      pods: () => this.#cluster?.pods ?? [],
      log: (level, message) => log.log(level, message),
    });
    this.#config = new ConfigLoop({
      origin: {
        file: options.configFile ?? null,
        configMap: options.configMap === undefined ? null : formatConfigMapRef(options.configMap),
      },
      reader: new ConfigReader(PROBES),
      expiry,
      nodeLabels: options.nodeLabels,
      followers: this.#followers(),
      kernel: this.#kernel,
      log: (level, message) => log.log(level, message),
      rejected: (error, version) => this.#report(error, version),
    });
  }

  /** In this order: first a log level that shows the rest, and the path of events before the first event. */
  #followers(): Record<string, ConfigFollower> {
    return {
      log: async ({ log }) => {
        this.#options.log.level = log.level;
        await this.#logShipping.apply(log.loki);
      },
      limits: ({ limits }) => {
        this.#scrapers.intervalMs = limits.scrapeInterval;
      },
      peers: ({ peers }) => this.#cluster?.setPeers(peers),
      events: ({ events }) => {
        this.#bus.historyMax = events.history;
        this.#lane.configure(events);
      },
      sinks: ({ sinks }) => this.#sinks.apply(sinks),
    };
  }

  /**
   * Resolves once the agent serves.
   * @throws {ConfigError} for a faulty configuration in a file; one in a ConfigMap is reported, and all defaults hold
   * @throws where it cannot listen on the address or read /proc, and where it is stopped before it serves
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { state: directory, paths, stop, log } = options;
    const files = new Files();
    const stopped = rejectionOf(stop);
    const opening = SectionExpiry.open({ directory, files, proc: paths.proc, warn: (message) => log.warn(message) });
    const agent = new Agent(options, await Promise.race([opening, stopped]), files);
    try {
      await Promise.race([agent.#start(), stopped]);
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    return agent;
  }

  async #start(): Promise<void> {
    const { configFile, stop } = this.#options;
    const content = configFile === undefined ? undefined : await readContent(this.#files, configFile);
    // A fault that can be found now is reported before anything is started.
    if (content !== undefined) this.#config.check(content);
    for (const step of [
      () => this.#listen(),
      () => this.#connect(),
      () => this.#kernel.start(),
      () => this.#begin(content),
    ]) {
      // A closed agent must not be started.
      stop.throwIfAborted();
      await step();
    }
    this.#memory = keepMemory(this.#kernel);
  }

  /** Applies the first configuration, and watches for the next. */
  async #begin(content: FileContent | undefined): Promise<void> {
    const { configFile, configMap, log } = this.#options;
    if (this.#session !== undefined && configMap !== undefined) {
      this.#configMap = new ConfigMapWatcher(
        this.#session,
        configMap,
        (level, text) => log.log(level, text),
        (changed, version) => void this.#config.reload(changed, version),
      );
      await Promise.race([this.#configMap.firstRead, wait(API_WAIT_MS, undefined, { ref: false })]);
      await this.#config.fallBack(this.#configMap.trouble);
      return;
    }
    await this.#config.begin(content);
    if (configFile !== undefined && content !== undefined) {
      this.#watcher = new FileWatcher({
        path: configFile,
        initial: content,
        changed: (changed) => void this.#config.reload(changed),
        files: this.#files,
        warn: (message) => log.warn(message),
      });
    }
  }

  async #connect(): Promise<void> {
    const { kubernetes, node, log } = this.#options;
    if (kubernetes.trouble !== undefined) log.warn(kubernetes.trouble);
    if (!kubernetes.asked) return;
    // The client library is loaded only where it is needed.
    const { openSession } = await import('#kubernetes/session.ts');
    const { checkKubeconfig } = await import('#kubernetes/kubeconfig_files.ts');
    await checkKubeconfig(this.#files, process.env);
    this.#session = openSession();
    this.#cluster = new Cluster({
      session: this.#session,
      node,
      log: (level, message) => log.log(level, message),
      pods: (update) => this.#tellKernel(this.#kernel.namePods(update)),
      nodeLabels: (labels) => void this.#config.setNodeLabels(labels),
      podNetworks: (networks) => this.#tellKernel(this.#kernel.tellPodNetworks(networks)),
    });
    log.info(`Pods of the node ${node} by the Kubernetes API at ${this.#session.server}`);
    await this.#cluster.listed(API_WAIT_MS);
  }

  /** A thread that was lost in the meantime is replaced, and the next one gets everything. */
  #tellKernel(told: Promise<void>): void {
    told.catch((error: Error) => this.#options.log.debug(`the kernel thread was not told: ${error.message}`));
  }

  /** `HOST:PORT` that the agent serves on. */
  get address(): string {
    return this.#serving.address;
  }

  /** Ends after five seconds, whatever hangs: sinks get the time that the steps before leave. */
  async [Symbol.asyncDispose](): Promise<void> {
    const endMs = performance.now() + END_MS;
    this.#ending.abort(new Error('the agent ends'));
    this.#watcher?.[Symbol.dispose]();
    await this.#memory?.[Symbol.asyncDispose]();
    // Steps may wait for something that hangs: a file system, the Kubernetes API.
    const asking = [this.#config, this.#configMap, this.#cluster].map((part) => part?.[Symbol.asyncDispose]());
    await withDeadline(Promise.allSettled(asking), ASKING_MS, 'late').catch(() => undefined);
    this.#session?.[Symbol.dispose]();
    await this.#kernel[Symbol.asyncDispose]();
    this.#lane[Symbol.dispose]();
    await this.#sinks.close(Math.min(FLUSH_MS, endMs - LOG_MS - performance.now()));
    await this.#logShipping.close(LOG_MS);
    this.#serving[Symbol.dispose]();
  }

  async #listen(): Promise<void> {
    const { log, node } = this.#options;
    await this.#serving.listen(this.#options, this.#files, {
      version: readVersion(),
      kernel: this.#kernel,
      metrics: new AgentMetrics(),
      scrapers: this.#scrapers,
      bus: this.#bus,
      ledger: this.#ledger,
      unfolded: () => this.#lane.unfolded,
      sinks: this.#sinks,
      config: () => ({ ...this.#config.status, notice: this.#watcher?.notice ?? '' }),
      document: () => this.#config.document,
      node,
      started: new Date(),
      kubernetes: () => this.#kubernetesState(),
      ready: () => this.#config.isApplied,
      until: (probe) => this.#config.until(probe),
      warn: (message) => void log.warn(message),
    });
  }

  #kubernetesState(): KubernetesState | undefined {
    const state = this.#cluster?.state;
    const { trouble } = this.#options.kubernetes;
    if (state === undefined) return trouble === undefined ? undefined : notAsked(trouble);
    if (this.#configMap === undefined) return state;
    const resources = [...state.resources, this.#configMap.tally];
    return { ...state, resources, trouble: state.trouble ?? this.#configMap.trouble };
  }

  /** Reported where everybody can see it: on the ConfigMap. */
  #report(error: ConfigError, version: ConfigMapVersion | undefined): void {
    const { configMap, node, log } = this.#options;
    if (this.#session === undefined || configMap === undefined || version === undefined) return;
    const { namespace, name } = configMap;
    const rejection = { namespace, name, ...version, reason: error.message };
    reportRejection(this.#session, rejection, node, this.#ending.signal).catch((failure: Error) => {
      if (!this.#ending.signal.aborted) log.warn(`no Event reports the rejected configuration: ${failure.message}`);
    });
  }
}

function notAsked(trouble: string): KubernetesState {
  return { connected: false, trouble, resources: [], addresses: 0, addressesLeftOut: 0 };
}

/** Rejects with the signal's reason once it is aborted; ignoring the promise is safe. */
function rejectionOf(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  return promise;
}
