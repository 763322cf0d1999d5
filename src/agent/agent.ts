import { setTimeout as wait } from 'node:timers/promises';
import type { RecordBatch } from '#api/records.ts';
import { type ConfigMapRef, type ConfigMapVersion, ConfigMapWatcher, formatConfigMapRef } from '#config/configmap.ts';
import type { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { SectionExpiry } from '#config/section_expiry.ts';
import { type FileContent, FileWatcher, readContent } from '#config/watch.ts';
import { OBJECTS, readVersion } from '#core/assets.ts';
import { withDeadline } from '#core/deadline.ts';
import { giveBackMemory } from '#core/heap.ts';
import type { Paths } from '#core/paths.ts';
import type { Labels } from '#core/selector.ts';
import { newToolSocket } from '#core/tool_socket.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { FLUSH_MS, SinkSet } from '#delivery/sink_set.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { FLOW_KIND } from '#events/flow_kind.ts';
import { withFlowPeer } from '#events/flow_peer.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { withDnsNames, withNamedServer } from '#events/named_server.ts';
import { REQUEST_KIND } from '#events/request_kind.ts';
import { withRequestPeer } from '#events/request_peer.ts';
import { Files } from '#files/files.ts';
import { AgentMetrics, type KubernetesState } from '#http/agent_metrics.ts';
import { Scrapers } from '#http/scrapers.ts';
import { KernelClient } from '#kernel/client.ts';
import type { ApiSession } from '#kubernetes/api.ts';
import { Cluster } from '#kubernetes/cluster.ts';
import type { KubernetesUse } from '#kubernetes/mode.ts';
import { reportRejection } from '#kubernetes/rejection.ts';
import { LocalOwners } from '#peers/local.ts';
import { PeerResolver } from '#peers/resolver.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';
import { readPortRange } from '#sources/procfs/port_range.ts';
import { type ConfigFollower, ConfigLoop } from './config_loop.ts';
import { Lane } from './lane.ts';
import { LogShipping } from './log_shipping.ts';
import { keepMemory } from './memory.ts';
import { PolicyVerdicts } from './policy_verdicts.ts';
import { readServerCounters } from './server_counters.ts';
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
  /** Probes with their defaults, for the configuration. */
  readonly probes: readonly AnyProbe[];
  /** Aborts startup if it is still in progress. */
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
 * Maximum time in milliseconds that startup waits for the Kubernetes API to send the Pods, and then again for the
 * configuration. Without the Pods, the first metrics and events would lack Pod names.
 */
const API_WAIT_MS = 3_000;

/** Node label that contains the zone of the node (https://kubernetes.io/docs/reference/labels-annotations-taints/). */
const ZONE = 'topology.kubernetes.io/zone';

/** The running agent, which connects the configuration, the kernel thread, the events and the HTTP server. */
export class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #config: ConfigLoop;
  readonly #bus = new RecordBus(EVENT_KIND);
  readonly #flows = new RecordBus(FLOW_KIND);
  readonly #incidents = new RecordBus(INCIDENT_KIND);
  readonly #requests = new RecordBus(REQUEST_KIND);
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
  /** Finds the owners of addresses if the Kubernetes API is not used. */
  readonly #local: LocalOwners;
  readonly #peers = new PeerResolver(() => (this.#options.kubernetes.asked ? this.#cluster?.owners : this.#local));
  /** Whether the probe `flow`, whose metrics name Services, is enabled. */
  #hasFlows = false;
  /** Zone of this node; undefined if it is unknown. */
  #zone: string | undefined;
  readonly #policies: PolicyVerdicts;
  #configMap: ConfigMapWatcher | undefined;
  readonly #ending = new AbortController();
  readonly #toolSocket = newToolSocket();

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
    this.#policies = new PolicyVerdicts({
      peers: this.#peers,
      session: () => this.#session,
      ending: this.#ending.signal,
      warn: (message) => log.warn(message),
    });
    this.#lane = new Lane({
      node: options.node,
      probes: PROBES,
      ephemeral: readPortRange(options.paths.proc),
      ledger: this.#ledger,
      bus: this.#bus,
      incidents: this.#incidents,
      peers: () => this.#peers,
      policies: () => this.#policies.judge,
      counters: readServerCounters(options.node, this.#peers, (place) => this.#kernel.ask('counters', place)),
      deliver: (records) => this.#sinks.offer(records),
    });
    this.#kernel = new KernelClient({
      kernel: {
        paths: options.paths,
        objects: OBJECTS,
        node: options.node,
        kubernetes: options.kubernetes.asked,
        toolSocket: this.#toolSocket,
      },
      events: (events) => this.#lane.receive(events),
      records: (batch) => this.#lane.receiveRecords(this.#publish(batch)),
      pods: () => this.#cluster?.pods ?? [],
      peers: {
        identify: (ip) => this.#peers.identify(ip),
        zone: () => this.#zone,
        settled: () => (options.kubernetes.asked ? undefined : this.#local.settled()),
      },
      log: (level, message) => log.log(level, message),
    });
    this.#local = new LocalOwners({
      entities: () => this.#kernel.ask('entities', null),
      node: options.node,
      changed: (ip) => this.#peers.changed(ip),
      limited: (leftOut) =>
        log.warn(`${leftOut} addresses of this machine did not fit in memory, so they have no names`),
    });
    this.#peers.follow((ip) => this.#kernel.peersChanged(ip));
    this.#config = new ConfigLoop({
      origin: {
        file: options.configFile ?? null,
        configMap: options.configMap === undefined ? null : formatConfigMapRef(options.configMap),
      },
      reader: new ConfigReader(options.probes),
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
      external: ({ external }) => {
        this.#peers.external = external;
      },
      privacy: ({ privacy }) => {
        this.#lane.privacy.rules = privacy;
      },
      flow: ({ probes }) => {
        this.#hasFlows = probes['flow']?.enabled === true;
      },
      peers: async ({ peers }) => {
        this.#local.isOn = peers !== 'off';
        await this.#cluster?.setPeers(peers);
      },
      events: async ({ events }) => {
        await this.#policies.setOn(events.policies);
        this.#bus.historyMax = events.history;
        this.#flows.historyMax = events.history;
        this.#requests.historyMax = events.history;
        this.#incidents.historyMax = events.history;
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
      nodeLabels: (labels) => {
        this.#zone = labels[ZONE];
        this.#kernel.peersChanged();
        void this.#config.setNodeLabels(labels);
      },
      podNetworks: (networks) => this.#tellKernel(this.#kernel.tellPodNetworks(networks)),
      ownersChanged: (ip) => this.#peers.changed(ip),
      wideListed: giveBackMemory,
    });
    log.info(`reading the Pods of node ${node} from the Kubernetes API at ${this.#session.server}`);
    await this.#cluster.listed(API_WAIT_MS);
  }

  /**
   * Logs a failed request, and does not retry it: the kernel thread has exited, and its replacement receives the
   * complete current state.
   */
  #tellKernel(told: Promise<void>): void {
    told.catch((error: Error) =>
      this.#options.log.debug(`the kernel thread did not receive an update: ${error.message}`),
    );
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
    // Each of these steps may hang on a file system or on the Kubernetes API.
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
      requests: this.#requests,
      incidents: { bus: this.#incidents, current: this.#lane.incidents },
      services: () => this.#peers.serviceWorkloads(),
      serviceWorkloads: () => (this.#hasFlows ? this.#peers.serviceWorkloads() : []),
      ledger: this.#ledger,
      unfolded: () => this.#lane.unfolded,
      policies: () => this.#policies.state,
      sinks: this.#sinks,
      config: () => ({ ...this.#config.status, notice: this.#watcher?.notice ?? '' }),
      document: () => this.#config.document,
      node,
      started: new Date(),
      toolSocket: this.#toolSocket,
      kubernetes: () => this.#kubernetesState(),
      ready: () => this.#config.isApplied,
      until: (probe) => this.#config.until(probe),
      warn: (message) => void log.warn(message),
    });
  }

  /** Adds the names of the peers to records, and publishes them. */
  #publish(batch: RecordBatch): LaneRecord[] {
    const { privacy } = this.#lane;
    if (batch.kind === 'flow') {
      const named = batch.values.map((flow) => withDnsNames(withFlowPeer(flow, this.#peers, this.#zone)));
      return this.#flows.publish(named.map((flow) => withNamedServer(privacy.flow(flow))));
    }
    const named = batch.values.map((request) => withDnsNames(withRequestPeer(request, this.#peers)));
    return this.#requests.publish(named.map((request) => withNamedServer(privacy.request(request))));
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
