import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ProbeStatus } from '#api/probes.ts';
import type { RecordBatch } from '#api/records.ts';
import type { Trouble } from '#api/trouble.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import { type Format, OPENMETRICS_END } from '#collectors/exposition.ts';
import { deflate } from '#collectors/gzip.ts';
import { type Deadlines, Scrape } from '#collectors/scrape.ts';
import { emitSelf, SELF, SELF_METRICS, SelfCounts } from '#collectors/self.ts';
import { Supervisor } from '#collectors/supervisor.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { PodDirectory } from '#pods/directory.ts';
import { type Entity, isHostPod } from '#pods/entity.ts';
import type { PodsUpdate } from '#pods/facts.ts';
import { HostPodTracker } from '#pods/host_pods.ts';
import type { PodLabels } from '#pods/labels.ts';
import { LIFECYCLE_HOOKS, Lifecycle } from '#pods/lifecycle.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsNames } from '#pods/netns_names.ts';
import { PodFilterTracker } from '#pods/pod_filters.ts';
import { NetnsRegistry, RETIRED_MAX } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { ownerKey } from '#pods/shared_room.ts';
import type { AnyProbe, DesiredProbes } from '#probe/contract.ts';
import { type HookStatus, surveyHooks } from '#probe/hooks.ts';
import type { Emit } from '#probe/metric.ts';
import { type OwnedNetns, OwnerSlots } from '#probe/owners.ts';
import { RetainedStates } from '#probe/retained.ts';
import { TcpEnds } from '#probe/tcp_ends.ts';
import { RunTimes } from '#sources/bpf/run_times.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import type { Sources } from '#sources/sources.ts';
import { Collection } from './collection.ts';
import { DISCOVERY, DiscoveryStatus } from './discovery_status.ts';
import { type FlowSelection, type FlowsAnswer, reportFlows, whyNoFlows } from './flows.ts';
import { lastWords } from './last_words.ts';
import { ledgerOf } from './ledger_entries.ts';
import { LookPace } from './look_pace.ts';
import type { KernelOptions, Page, PageOptions } from './messages.ts';
import { openSources } from './open_sources.ts';
import { Outbox } from './outbox.ts';
import { troubleOf } from './trouble.ts';

export type KernelLog = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface KernelCallbacks {
  readonly probes: readonly AnyProbe[];
  readonly events: (events: readonly EventRecord[]) => void;
  readonly records: (records: RecordBatch) => void;
  readonly log: KernelLog;
  /** Deadlines of a collection, which replace the defaults. */
  readonly deadlines?: Deadlines;
}

/** Maximum age in milliseconds of a collection that requests for `/api/v1/trouble` and `/api/v1/flows` reuse. */
const FRESH_MS = 2_000;

/** All work of the kernel thread: discovery, sources, probes, aggregation and rendering. */
export class Kernel implements AsyncDisposable {
  readonly #node: string;
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
  /** Entities as discovered, without the names from the Kubernetes API. */
  #discovered: readonly Entity[] = [];
  readonly #sources: Sources;
  readonly #tcpEnds: TcpEnds;
  readonly #errors: SourceErrors;
  readonly #retained = new RetainedStates();
  readonly #supervisor: Supervisor;
  readonly #runTimes: RunTimes;
  readonly #scrape: Scrape;
  readonly #counts = new SelfCounts();
  readonly #netns: BpfNetnsKernel;
  readonly #outbox: Outbox;
  readonly #collection = new Collection(() => this.collect());
  readonly #hasPods: boolean;
  #refreshFailure = '';
  readonly #names: NetnsNames;
  readonly #pace: LookPace;

  private constructor(options: KernelOptions, callbacks: KernelCallbacks, bpf: BpfSource, netns: BpfNetnsKernel) {
    const { paths } = options;
    this.#node = options.node;
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
      // A Pod that has left several namespaces is shown only with the last one.
      hasDeparted: (id) => this.#registry.hasDeparted(id) || this.#aggregator.entities.attribute(id) === 'shadowed',
    });
    this.#registry.holdOwners(this.#owners);
    this.#errors = new SourceErrors((message) => callbacks.log('warn', message));
    this.#hostPods = new HostPodTracker(paths, this.#registry, this.#errors);
    this.#scanner = new Scanner(paths, netns, this.#registry, this.#hostPods);
    this.#outbox = new Outbox({
      node: options.node,
      probes: callbacks.probes,
      find: (id) => this.#find(id),
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
    this.#tcpEnds = new TcpEnds({ sources: this.#sources, owners: this.#owners, proc: paths.proc, warn });
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
      },
      retained: this.#retained,
      aggregator: this.#aggregator,
      publish: (probe) => this.#outbox.publisher(probe),
      record: (probe, rules) => this.#outbox.recorder(probe, rules),
      log: callbacks.log,
      runTimesMissing: () => this.#runTimes.missing,
    });
    this.#scrape = new Scrape(this.#aggregator, callbacks.deadlines);
    this.#aggregator.addProbe(SELF, SELF_METRICS, 'full');
  }

  /**
   * @throws if /proc or /sys cannot be read; if any other feature is missing, only the probes that require it are
   * `unsupported`
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
  async configure(desired: DesiredProbes, bpfStats = false, series = Number.POSITIVE_INFINITY): Promise<void> {
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

  labelPods(labels: PodLabels): void {
    this.#directory.configure(labels);
    this.#name();
  }

  /**
   * Collects all probes and renders a page.
   * @param isForgotten returns true once the page is no longer wanted
   * @throws if the page is no longer wanted after the collection
   */
  page(format: Format, options: PageOptions = {}, isForgotten = () => false): Promise<Page> {
    const askedMs = performance.now();
    return this.#collection.fresh(async () => {
      if (isForgotten()) throw new Error('the page is no longer wanted');
      return this.#page(format, askedMs, options);
    });
  }

  /**
   * Returns the counters that indicate trouble, for every entity. Collects unless the last collection is recent enough.
   */
  trouble(): Promise<Trouble> {
    return this.#collection.recent(FRESH_MS, async (collected) => troubleOf(this.#aggregator, collected));
  }

  /** Returns the totals of the selected edges. Collects first if the last collection is too old. */
  async flows(selection: FlowSelection): Promise<FlowsAnswer> {
    const running = () => this.#supervisor.active().find(({ probe }) => probe.edges !== undefined);
    const unavailable = () => ({ unavailable: whyNoFlows(this.#supervisor.status(), running()) });
    if (running()?.metrics !== true) return unavailable();
    return this.#collection.recent(FRESH_MS, async () => {
      const rows = running()?.probe.edges?.();
      if (rows === undefined) return unavailable();
      const find = (id: NetnsId) => this.#find(id);
      return { report: await reportFlows(this.#node, rows, selection, find, freeCycle()) };
    });
  }

  probes(): readonly ProbeStatus[] {
    return this.#supervisor.status();
  }

  /** Returns the status of discovery in the form of a probe status. */
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

  async entities(): Promise<readonly EntityStatus[]> {
    const cycle = freeCycle();
    const statuses: EntityStatus[] = [];
    const places = new Map(this.#registry.snapshot().map((entry) => [entry.id, entry]));
    for (const entity of this.#aggregator.entities.all) {
      const place = places.get(entity.netns);
      const ips = place === undefined ? [] : this.#sources.route.addresses(place, cycle);
      // An agent that may not enter the namespace knows only the addresses from the API.
      statuses.push(entityStatus(entity, ips.length > 0 ? ips : (this.#directory.find(entity.uid)?.ips ?? [])));
      await cycle.pause();
    }
    return statuses;
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
    // Before unchecked retired entities are dropped for lack of room, a collection determines which of them lost
    // packets.
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

  /** Collects all probes and drops whatever exceeds the limits, without rendering a page. */
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

  /** Renders the last collection as the last part of a page. */
  async render(format: Format, view?: ScraperView): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    const writer = new TextWriter();
    await this.#aggregator.render(writer, format, freeCycle(), view);
    if (format === 'openmetrics') writer.bytes(OPENMETRICS_END);
    return writer.finish();
  }

  async #page(format: Format, askedMs: number, { scraping, isCompressed = false }: PageOptions): Promise<Page> {
    const writtenMs = performance.now();
    const chunks = await this.render(format, scraping && { askedMs, ...scraping });
    const content = isCompressed ? await deflate(chunks, freeCycle()) : chunks;
    this.#counts.scraped((performance.now() - askedMs) / 1000);
    return { content, ledger: this.ledger(), writtenMs };
  }

  /** Returns the record counts of every probe that has events or other records, including disabled probes. */
  ledger(): KernelLedgerEntry[] {
    return ledgerOf(this.#callbacks.probes, this.#supervisor.active(), this.#retained, this.#outbox);
  }
}

/**
 * Returns the owner under which the maps of BPF probes count the entity's namespace. A namespace that is known only
 * from a process has no owner, because a process can create any number of namespaces. A Pod that shares the node's
 * namespace has no owner either.
 */
function ownedBy(entity: Entity): OwnedNetns[] {
  const { kind, netns: id, namespace, pod, isRetired } = entity;
  if (isRetired || kind === 'process' || isHostPod(entity)) return [];
  return [
    {
      id,
      owner: ownerKey(entity),
      name: kind === 'node' ? 'the node' : namespace === '' ? pod : `${namespace}/${pod}`,
    },
  ];
}

function entityStatus(entity: Entity, ips: readonly string[]): EntityStatus {
  const { kind, namespace, pod, netns, sharedNetns, uid, labels } = entity;
  const sharesNode = sharedNetns !== undefined;
  return { kind, namespace, pod, netns: String(sharedNetns ?? netns), sharesNode, uid, labels, ips };
}
