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
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { FLOW_KIND } from '#events/flow_kind.ts';
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
  /**
   * ConfigMap to read the configuration from, instead of a file. Requires access to the Kubernetes API (`kubernetes`).
   */
  readonly configMap: ConfigMapRef | undefined;
  readonly kubernetes: KubernetesUse;
  /** Name of this node. */
  readonly node: string;
  readonly paths: Paths;
  /** Directory for data that survives a restart. */
  readonly state: string;
  /** Labels of this node. The selectors under `nodes` in the configuration are matched against them. */
  readonly nodeLabels: Labels;
  /** Aborts the startup if it is still in progress. */
  readonly stop: AbortSignal;
}

/**
 * Time limits in milliseconds: for the whole shutdown, for stopping the configuration and the Kubernetes watches, and
 * for shipping the last log lines.
 */
const END_MS = 4_700;
const ASKING_MS = 300;
const LOG_MS = 300;

/**
 * Maximum number of milliseconds for which startup waits for the Kubernetes API to send the Pods, and then for it to
 * send the configuration. Without the Pods, the first metrics and events would lack the names of their Pods.
 */
const API_WAIT_MS = 3_000;

/** The running agent, which connects the configuration, the kernel thread, the events and the HTTP server. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #config: ConfigLoop;
  readonly #bus = new RecordBus(EVENT_KIND);
  readonly #flows = new RecordBus(FLOW_KIND);
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
      records: ({ values }) => this.#lane.receiveRecords(this.#flows.publish(values)),
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

  /**
   * Returns the followers in the order in which they are called. The log level is first, so that it applies to the
   * other steps. Events and sinks are configured before the kernel thread can send the first event.
   */
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
        this.#flows.historyMax = events.history;
        this.#lane.configure(events);
      },
      sinks: ({ sinks }) => this.#sinks.apply(sinks),
    };
  }

  /**
   * Resolves once the agent serves requests.
   * @throws {ConfigError} if the configuration file is invalid. An invalid ConfigMap does not throw: it is reported,
   * and the defaults apply.
   * @throws if the agent cannot listen on an address or read /proc, or if it is stopped before it serves requests
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
    // Fails on an invalid file before starting anything.
    if (content !== undefined) this.#config.check(content);
    for (const step of [
      () => this.#listen(),
      () => this.#connect(),
      () => this.#kernel.start(),
      () => this.#begin(content),
    ]) {
      // The agent may have been stopped during the previous step.
      stop.throwIfAborted();
      await step();
    }
    this.#memory = keepMemory(this.#kernel);
  }

  /** Applies the first configuration, and watches its source for changes. */
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
    // The client library is loaded only if the API is used, to save memory.
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
    log.info(`reading the Pods of node ${node} from the Kubernetes API at ${this.#session.server}`);
    await this.#cluster.listed(API_WAIT_MS);
  }

  /**
   * Does not retry a failed request, because the kernel thread has exited and its replacement receives the complete
   * current state.
   */
  #tellKernel(told: Promise<void>): void {
    told.catch((error: Error) => this.#options.log.debug(`the kernel thread did not get an update: ${error.message}`));
  }

  /** Returns the first address that the agent listens on, as `HOST:PORT`. */
  get address(): string {
    return this.#serving.address;
  }

  /**
   * Shuts the agent down. Resolves within five seconds even if a step hangs. The sinks may use the time that remains
   * after the earlier steps.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const endMs = performance.now() + END_MS;
    this.#ending.abort(new Error('the agent is shutting down'));
    this.#watcher?.[Symbol.dispose]();
    await this.#memory?.[Symbol.asyncDispose]();
    // Each of these may hang on a file system or on the Kubernetes API.
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
      flows: this.#flows,
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

  /** Reports a rejected configuration as a Kubernetes Event on the ConfigMap, where cluster users see it. */
  #report(error: ConfigError, version: ConfigMapVersion | undefined): void {
    const { configMap, node, log } = this.#options;
    if (this.#session === undefined || configMap === undefined || version === undefined) return;
    const { namespace, name } = configMap;
    const rejection = { namespace, name, ...version, reason: error.message };
    reportRejection(this.#session, rejection, node, this.#ending.signal).catch((failure: Error) => {
      if (!this.#ending.signal.aborted)
        log.warn(`cannot report the rejected configuration as an Event: ${failure.message}`);
    });
  }
}

function notAsked(trouble: string): KubernetesState {
  return { connected: false, trouble, resources: [], addresses: 0, addressesLeftOut: 0 };
}

/**
 * Returns a promise that rejects with the signal's reason on abort. Node.js does not report the rejection as unhandled.
 */
function rejectionOf(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  return promise;
}
