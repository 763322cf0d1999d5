import type { CountersReport } from '#api/counters.ts';
import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { RecordBatch } from '#api/records.ts';
import type { Trouble } from '#api/trouble.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import type { Format } from '#collectors/exposition.ts';
import { type Deadlines, Scrape } from '#collectors/scrape.ts';
import { emitSelf, SELF, SELF_METRICS, SelfCounts } from '#collectors/self.ts';
import { Supervisor } from '#collectors/supervisor.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { PrivacyRules } from '#core/privacy.ts';
import { PodDirectory } from '#pods/directory.ts';
import type { Entity } from '#pods/entity.ts';
import type { PodsUpdate } from '#pods/facts.ts';
import { HostPodTracker } from '#pods/host_pods.ts';
import type { PodLabels } from '#pods/labels.ts';
import { LIFECYCLE_HOOKS, Lifecycle } from '#pods/lifecycle.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsNames } from '#pods/netns_names.ts';
import { ownedBy } from '#pods/owned_netns.ts';
import { PodFilterTracker } from '#pods/pod_filters.ts';
import { NetnsRegistry, RETIRED_MAX } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import type { AnyProbe, DesiredProbes } from '#probe/contract.ts';
import { SharedNaming } from '#probe/edge_labels.ts';
import { type HookStatus, surveyHooks } from '#probe/hooks.ts';
import { L7 } from '#probe/l7.ts';
import type { Emit } from '#probe/metric.ts';
import { OwnerSlots } from '#probe/owners.ts';
import { PeerNames } from '#probe/peer_names.ts';
import { RetainedStates } from '#probe/retained.ts';
import { TcpEnds } from '#probe/tcp_ends.ts';
import { RunTimes } from '#sources/bpf/run_times.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import type { Sources } from '#sources/sources.ts';
import { Collection } from './collection.ts';
import { type CountersSelection, readCounters } from './counters.ts';
import { DISCOVERY, DiscoveryStatus } from './discovery_status.ts';
import { entityStatuses } from './entity_statuses.ts';
import { FlowAnswers, FRESH_MS } from './flow_answers.ts';
import { lastWords } from './last_words.ts';
import { ledgerOf } from './ledger_entries.ts';
import { LookPace } from './look_pace.ts';
import type { KernelOptions, Page, PageOptions } from './messages.ts';
import { openSources } from './open_sources.ts';
import { Outbox } from './outbox.ts';
import { PageWriter } from './page_writer.ts';
import { type PeersAsk, type PeersTold, PeerTable } from './peer_table.ts';
import { troubleOf } from './trouble.ts';

export type KernelLog = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface KernelCallbacks {
  readonly probes: readonly AnyProbe[];
  readonly events: (events: readonly EventRecord[]) => void;
  readonly records: (records: RecordBatch) => void;
  /**
   * Requests the identities of addresses. The answer has to be passed to `tellPeers`. By default, all peers are
   * unknown.
   */
  readonly peers?: (ask: PeersAsk) => void;
  readonly log: KernelLog;
  /** Deadlines of a collection, in place of the defaults. */
  readonly deadlines?: Deadlines;
  /** Maximum number of milliseconds until a probe has opened, in place of the default. */
  readonly openMs?: number;
}

/** All work of the kernel thread: discovery, sources, probes, aggregation and rendering. */
export class Kernel implements AsyncDisposable {
  readonly #callbacks: KernelCallbacks;
  readonly #aggregator: Aggregator;
  readonly #registry: NetnsRegistry;
  readonly #hostPods: HostPodTracker;
  readonly #scanner: Scanner;
  readonly #life: Lifecycle;
  readonly #discovery: DiscoveryStatus;
  readonly #directory = new PodDirectory();
  readonly #filters: PodFilterTracker;
  readonly #owners: OwnerSlots;
  /** Entities as they were discovered, before names from the Kubernetes API are added. */
  #discovered: readonly Entity[] = [];
  readonly #sources: Sources;
  readonly #tcpEnds: TcpEnds;
  readonly #l7: L7;
  readonly #naming = new SharedNaming();
  /** Names under which Pods have resolved the addresses of their peers. */
  readonly peerNames: PeerNames;
  readonly #errors: SourceErrors;
  readonly #retained = new RetainedStates();
  readonly #supervisor: Supervisor;
  readonly #runTimes: RunTimes;
  readonly #scrape: Scrape;
  readonly #counts = new SelfCounts();
  readonly #pages: PageWriter;
  readonly #netns: BpfNetnsKernel;
  readonly #outbox: Outbox;
  readonly #collection = new Collection(() => this.collect());
  readonly #peers: PeerTable;
  /** Answers requests for the edges of flows. */
  readonly flows: FlowAnswers;
  readonly #hasPods: boolean;
  #refreshFailure = '';
  readonly #names: NetnsNames;
  readonly #pace: LookPace;

  private constructor(options: KernelOptions, callbacks: KernelCallbacks, bpf: BpfSource, netns: BpfNetnsKernel) {
    const { paths } = options;
    this.#callbacks = callbacks;
    this.#netns = netns;
    this.#hasPods = options.kubernetes;
    const names = [...callbacks.probes.map(({ name }) => name), SELF];
    this.#aggregator = new Aggregator(
      names,
      (id) => this.#registry.isIgnored(id),
      () => performance.now(),
      (id) => this.#registry.isNew(id),
    );
    this.#pages = new PageWriter(this.#aggregator);
    this.#filters = new PodFilterTracker(options.kubernetes ? this.#directory : undefined);
    this.#registry = new NetnsRegistry(
      paths,
      (entities) => {
        this.#discovered = entities;
        this.#name();
      },
      (uid) => this.#directory.find(uid)?.hostNetwork,
    );
    this.#registry.holdRetired((id) => this.#aggregator.isHeld(id));
    this.#owners = new OwnerSlots({
      isUnowned: (id) => this.#registry.isUnowned(id),
      isNested: (id) => this.#registry.isNested(id),
      wasOwned: (id) => this.#registry.wasOwned(id),
      // A Pod that has left several namespaces is shown only with the last of them.
      hasDeparted: (id) => this.#registry.hasDeparted(id) || this.#aggregator.entities.attribute(id) === 'shadowed',
    });
    this.#registry.holdOwners(this.#owners);
    this.#errors = new SourceErrors((message) => callbacks.log('warn', message));
    this.#hostPods = new HostPodTracker(paths, this.#registry, this.#errors);
    this.#scanner = new Scanner(paths, netns, this.#registry, this.#hostPods);
    this.peerNames = new PeerNames({
      homeOf: (id) => this.#owners.homeOf(id),
      edges: () => this.flows.clientPeers(),
    });
    this.#outbox = new Outbox({
      node: options.node,
      probes: callbacks.probes,
      find: (id) => this.#find(id),
      namesOf: (netns, ip) => this.peerNames.of(netns, ip),
      refresh: () => this.#refresh(() => this.#scanner.refreshAnew()),
      send: callbacks.events,
      sendRecords: callbacks.records,
    });
    const warn = (message: string) => callbacks.log('warn', message);
    this.#sources = openSources(
      paths,
      bpf,
      this.#registry,
      this.#owners,
      this.#errors,
      warn,
      () => this.#tcpEnds.shared,
    );
    this.#peers = new PeerTable({
      ask: (ask) => callbacks.peers?.(ask),
      isOwn: (subject, ip, identity) => this.flows.isOwn(subject, ip, identity),
      ...(callbacks.peers === undefined ? { waitMs: 0 } : {}),
    });
    this.#tcpEnds = new TcpEnds({ sources: this.#sources, owners: this.#owners, proc: paths.proc, warn });
    this.#l7 = new L7({
      sources: this.#sources,
      owners: this.#owners,
      hostPods: this.#hostPods,
      naming: this.#naming,
      proc: paths.proc,
    });
    this.#life = new Lifecycle({
      bpf,
      cpus: this.#sources.cpus,
      paths,
      registry: this.#registry,
      owners: this.#owners,
      told: () => this.#pace.stir(),
      warn: (message) => callbacks.log('warn', message),
    });
    this.#names = new NetnsNames(paths.netns, () => this.#pace.stir());
    this.#pace = new LookPace({
      look: () => this.#lookAround(),
      isRestless: () => !this.#names.follow() || this.#registry.isUnsettled || !this.#life.tellsBirths,
    });
    this.#discovery = new DiscoveryStatus(this.#registry, this.#life);
    this.#runTimes = new RunTimes(paths.proc);
    this.#supervisor = new Supervisor({
      definitions: callbacks.probes,
      sources: this.#sources,
      context: {
        paths,
        errors: this.#errors,
        filters: this.#filters,
        owners: this.#owners,
        hostPods: this.#hostPods,
        life: this.#life,
        node: this.#directory,
        tcpEnds: this.#tcpEnds,
        l7: this.#l7,
        peers: this.#peers,
        toolSocket: options.toolSocket,
        naming: this.#naming,
        names: this.peerNames,
      },
      retained: this.#retained,
      aggregator: this.#aggregator,
      publish: (probe) => this.#outbox.publisher(probe),
      record: (probe, rules) => this.#outbox.recorder(probe, rules),
      log: callbacks.log,
      openMs: callbacks.openMs,
      runTimesMissing: () => this.#runTimes.missing,
    });
    this.flows = new FlowAnswers({
      node: options.node,
      proc: paths.proc,
      supervisor: this.#supervisor,
      collection: this.#collection,
      directory: this.#directory,
      peers: this.#peers,
      find: (id) => this.#find(id),
      privacy: this.#aggregator.hidden,
      names: this.peerNames,
      isElsewhere: (id) => this.#registry.isUnowned(id),
    });
    this.#scrape = new Scrape(this.#aggregator, callbacks.deadlines);
    this.#aggregator.addProbe(SELF, SELF_METRICS, 'full');
  }

  /**
   * @throws if /proc or /sys cannot be read. If another feature is missing, only the probes that require it become
   *   `unsupported`.
   */
  static async open(options: KernelOptions, callbacks: KernelCallbacks): Promise<Kernel> {
    const bpf = new BpfSource(options.objects, options.paths.sys, options.paths.cgroup);
    const netns = await BpfNetnsKernel.open(bpf, options.paths.proc, callbacks.log);
    const kernel = new Kernel(options, callbacks, bpf, netns);
    await kernel.#scanner.refresh();
    await kernel.#life.start();
    kernel.#pace.start();
    return kernel;
  }

  /**
   * Resolves once every probe has entered its new state.
   * @param bpfStats whether to measure the run times of BPF programs even if no budget requires it
   * @param series maximum number of series on a page, over all probes
   */
  async configure(
    desired: DesiredProbes,
    bpfStats = false,
    series = Number.POSITIVE_INFINITY,
    privacy: PrivacyRules = {},
  ): Promise<void> {
    this.#aggregator.privacy = privacy;
    this.#aggregator.limit.max = series;
    const hasBudget = this.#callbacks.probes.some(
      ({ name, kind }) => kind === 'ebpf' && desired[name]?.budget !== undefined,
    );
    this.#runTimes.want(bpfStats || hasBudget);
    await this.#supervisor.apply(new Map(Object.entries(desired)));
  }

  namePods(update: PodsUpdate): void {
    this.#directory.update(update);
    this.#registry.judgeAgain();
    this.#hostPods.judgeAgain(update.set);
    this.#name();
  }

  /** Sets the networks of the Pods on this node. */
  tellPodNetworks(networks: readonly string[]): void {
    this.#directory.setNetworks(networks);
  }

  /** Applies identities that `peers` has requested, and later changes of them. */
  tellPeers(told: PeersTold): void {
    this.#peers.tell(told);
  }

  labelPods(labels: PodLabels): void {
    this.#directory.configure(labels);
    this.#name();
  }

  /**
   * Collects all probes and renders a page.
   * @param isForgotten returns whether the client has stopped waiting for the page
   * @throws if the client has stopped waiting by the end of the collection
   */
  page(format: Format, options: PageOptions = {}, isForgotten = () => false): Promise<Page> {
    const askedMs = performance.now();
    return this.#collection.fresh(async () => {
      if (isForgotten()) throw new Error('the page is no longer wanted');
      return this.#page(format, askedMs, options);
    });
  }

  /** Returns the counters that indicate trouble, for each entity. Collects first if the last collection is too old. */
  trouble(): Promise<Trouble> {
    return this.#collection.recent(FRESH_MS, async (collected) => troubleOf(this.#aggregator, collected));
  }

  probes(): readonly ProbeStatus[] {
    return this.#supervisor.status();
  }

  /** Returns the status of discovery in the format of a probe status. */
  discovery(): ProbeStatus {
    return this.#discovery.status(this.#runTimes.missing);
  }

  /**
   * Briefly loads and attaches each hook of discovery and of all BPF probes, to report which hooks this kernel
   * supports.
   */
  async hooks(): Promise<readonly { readonly probe: string; readonly statuses: readonly HookStatus[] }[]> {
    const { bpf } = this.#sources;
    const found: { probe: string; statuses: readonly HookStatus[] }[] = [
      { probe: DISCOVERY, statuses: await surveyHooks(bpf, LIFECYCLE_HOOKS) },
    ];
    for (const { name, hooks } of this.#callbacks.probes) {
      if (hooks !== undefined) found.push({ probe: name, statuses: await surveyHooks(bpf, hooks) });
    }
    return found;
  }

  entities(): Promise<readonly EntityStatus[]> {
    return entityStatuses(
      {
        entities: this.#aggregator.entities.all,
        registry: this.#registry,
        route: this.#sources.route,
        directory: this.#directory,
      },
      freeCycle(),
    );
  }

  /** Reads the counters of the network namespaces of a Pod or of the node. */
  async counters(selection: CountersSelection): Promise<CountersReport> {
    const { mib, files } = this.#sources;
    const entities = this.#aggregator.entities.all;
    return readCounters({ entities, registry: this.#registry, mib, files }, selection, freeCycle());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pace[Symbol.dispose]();
    this.#names[Symbol.dispose]();
    await this.#supervisor[Symbol.asyncDispose]();
    this.#outbox[Symbol.dispose]();
    this.#runTimes[Symbol.dispose]();
    this.#life[Symbol.dispose]();
    this.#netns[Symbol.dispose]();
  }

  #name(): void {
    const named = this.#directory.nameAll(this.#discovered);
    this.#aggregator.entities.set(named, this.#directory.noLabels);
    this.#owners.set(named.flatMap(ownedBy));
    this.#filters.set(this.#discovered.filter(({ isRetired }) => !isRetired));
  }

  #find(id: NetnsId): Entity | undefined {
    const last = this.#aggregator.entities.find(id) ?? this.#registry.lastKnown(id);
    return last && this.#directory.name(last);
  }

  async #lookAround(): Promise<void> {
    await this.#refresh();
    // If there are too many retired entities, some are dropped soon, possibly before they were checked. A collection
    // determines which of them lost packets.
    if (this.#registry.retired.unknown > RETIRED_MAX / 2) await this.#collection.fresh(async () => undefined);
  }

  async #refresh(look = () => this.#scanner.refresh()): Promise<void> {
    try {
      await look();
      this.#refreshFailure = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#refreshFailure) this.#callbacks.log('error', `cannot list network namespaces: ${message}`);
      this.#refreshFailure = message;
    }
  }

  /** Collects all probes and drops the series that exceed the limits. Does not render a page. */
  async collect(): Promise<void> {
    await this.#refresh();
    const dead = new Set(this.#registry.retired.entities.map(({ netns }) => netns));
    const active = this.#supervisor.active();
    for (const outcome of await this.#scrape.run(active)) this.#counts.collected(outcome);
    if (dead.size > 0) this.#registry.chooseRetired(lastWords(this.#aggregator, dead), this.#hasPods);
    this.#aggregator.fit();
    const batch = this.#aggregator.begin(SELF);
    emitSelf(batch.emit as Emit<typeof SELF_METRICS>, {
      counts: this.#counts,
      aggregator: this.#aggregator,
      registry: this.#registry,
      scanner: this.#scanner,
      errors: this.#errors,
      probes: [this.discovery(), ...this.#supervisor.status()],
      active: [{ name: DISCOVERY, probe: this.#life.report }, ...active],
      hasRunTimes: this.#runTimes.missing === undefined,
    });
    batch.commit();
  }

  /** Renders the last collection. The result is the last part of a page. */
  render(format: Format, view?: ScraperView): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    return this.#pages.text(format, view);
  }

  async #page(format: Format, askedMs: number, { scraping, isCompressed = false }: PageOptions): Promise<Page> {
    const writtenMs = performance.now();
    const view = scraping && { askedMs, ...scraping };
    const content = isCompressed ? await this.#pages.compressed(format, view) : await this.#pages.text(format, view);
    this.#counts.scraped((performance.now() - askedMs) / 1000);
    return { content, ledger: this.ledger(), writtenMs };
  }

  /** Returns the record counts of every probe that has events or other records, including disabled probes. */
  ledger(): KernelLedgerEntry[] {
    return ledgerOf(this.#callbacks.probes, this.#supervisor.active(), this.#retained, this.#outbox);
  }
}
