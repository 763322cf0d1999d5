import type { z } from 'zod';
import type { ProbeCost, ProbeKind } from '#api/words.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { PodFilter, PodFilters } from '#core/pod_filter.ts';
import type { PrivacyRules } from '#core/privacy.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { SourceErrors } from '#sources/errors.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeAlert } from './alert.ts';
import type { SharedNaming } from './edge_labels.ts';
import type { EventSet, Publish } from './event.ts';
import type { DatagramEdges, FlowEdges, RequestEdges } from './flow_edges.ts';
import type { HookTable } from './hooks.ts';
import type { HostPods } from './host_pods.ts';
import type { L7Provider } from './l7_use.ts';
import type { NetnsLife } from './life.ts';
import type { MapRule } from './map_rule.ts';
import type { Measured } from './measured.ts';
import type { Detail, Emit, MetricSet } from './metric.ts';
import type { Owners } from './owners.ts';
import type { ProbePanel } from './panel.ts';
import type { PeerNames } from './peer_names.ts';
import type { Peers } from './peers.ts';
import type { OfferRecord, RecordOffer, RecordRules, Unoffered } from './records.ts';
import type { Retained, RetainedState } from './retained.ts';
import type { KernelLedger, NotShown, ProgramStatus, Uncounted } from './status.ts';
import type { TcpEndsProvider } from './tcp_ends_use.ts';

/** Services that the agent provides to every probe, in addition to the readers of kernel data. */
export interface ProbeContext {
  readonly paths: Paths;
  /** Counts errors of data sources: unreadable files and malformed content. */
  readonly errors: SourceErrors;
  readonly filters: PodFilters;
  readonly owners: Owners;
  readonly hostPods: HostPods;
  /** Reports the creation and removal of namespaces. */
  readonly life: NetnsLife;
  readonly node: NodeFacts;
  /** Counts of ended TCP sockets, shared by several probes. */
  readonly tcpEnds: TcpEndsProvider;
  /** Passes the packets of application protocols to parsers. */
  readonly l7: L7Provider;
  /** Identifies the peers of connections. */
  readonly peers: Peers;
  /** Names under which Pods have resolved the addresses of their peers. */
  readonly names: PeerNames;
  /** Name of the abstract Unix socket on which commands announce themselves. */
  readonly toolSocket: string;
  /** Whether edges are shown, and how their peers are named. */
  readonly naming: SharedNaming;
}

/**
 * Facts about this node's network from the Kubernetes API. Empty without Kubernetes, and until the API server has
 * responded for the first time.
 */
export interface NodeFacts {
  /**
   * Pod networks of this node (podCIDRs). The array is replaced whenever the networks change, and otherwise stays the
   * same object.
   */
  readonly podNetworks: readonly string[];
  /** Returns whether a Pod on this node has the address. */
  isPodAddress(ip: string): boolean;
}

/** Resources of a running probe. Closing the scope releases them and thereby closes the probe. */
export interface ProbeScope<E extends EventSet> extends ProbeContext {
  /** Aborted when the probe has to close, even if it is still opening. */
  readonly signal: AbortSignal;
  /** Registers a resource and returns it. Resources are released in reverse order, even if `open` fails halfway. */
  own<R extends Disposable | AsyncDisposable>(resource: R): R;
  /**
   * Returns the state that earlier runs of this probe have stored under this declaration. Changes to it are visible to
   * later runs.
   */
  retained<T>(state: RetainedState<T>): Retained<T>;
  readonly publish: Publish<E>;
  /** Submits a record of the kind that the probe declares. */
  readonly record: OfferRecord;
  /**
   * Reports a problem other than a failure of `open` or `collect`. Repetitions of the same message are not reported.
   */
  readonly warn: (message: string) => void;
}

/** Options that are specific to the probe: a schema for each key, including its default. */
export type OptionsShape = z.ZodRawShape;

export type OptionsOf<O extends OptionsShape> = z.output<z.ZodObject<O>>;

/** Settings of a probe. */
export interface ProbeSettings<C> {
  readonly metrics: boolean;
  readonly events: boolean;
  /**
   * Maximum number of events per second for one owner, summed over the owner's namespaces. The kernel discards events
   * that exceed this rate.
   */
  readonly limit: number;
  /** Pods that the probe observes; undefined for all Pods and the node. */
  readonly podFilter?: PodFilter | undefined;
  /** Rules that select the records to send; undefined if the probe produces no records. */
  readonly records?: RecordRules | undefined;
  /** Options that are specific to the probe. */
  readonly options: C;
}

/** Key of a setting in the configuration: one that several probes have, or an option of the probe. */
export type SettingKey<O extends OptionsShape> = 'events' | 'limit' | 'pods' | 'records' | (keyof O & string);

/** Configuration of one probe. */
export interface DesiredProbe {
  readonly settings: ProbeSettings<Readonly<Record<string, unknown>>>;
  readonly detail: Detail;
  /** Series to show, in the syntax of `FieldChoice`; undefined for all series of the configured detail. */
  readonly fields?: readonly string[] | undefined;
  /** Maximum share of one CPU that the probe may use; undefined for no limit. */
  readonly budget?: number | undefined;
}

/** Probe configurations by name. Probes without an entry are disabled. */
export type DesiredProbes = Readonly<Record<string, DesiredProbe>>;

/** Configuration of the kernel thread. */
export interface DesiredKernel {
  readonly probes: DesiredProbes;
  /** Whether to measure the run time of BPF programs even if no probe has a CPU budget. */
  readonly bpfStats: boolean;
  /** Maximum number of series on a page, summed over all probes. */
  readonly series: number;
  readonly privacy: PrivacyRules;
}

export interface RunningProbe<M extends MetricSet, C = unknown> {
  health(): ReaderHealth;
  /**
   * Applies new settings without an interruption: no count is lost, and no program is loaded. At most those that
   * `inPlace` lists have changed. Returns false, and applies nothing, if the probe has to be opened again.
   */
  apply?(settings: ProbeSettings<C>): boolean;
  /** Called once per scrape if metrics are enabled. The probe may emit no samples. */
  collect?(emit: Emit<M>, cycle: Cycle): Promise<void>;
  programs?(): readonly ProgramStatus[];
  /** Memory of each map in bytes, by map name. */
  mapBytes?(): Readonly<Record<string, number>>;
  ledger?(): KernelLedger;
  /**
   * Counts of records that were lost before the probe received them. Defined only by probes that receive records
   * through a ring.
   */
  unoffered?(): Unoffered;
  uncounted?(): Uncounted;
  /**
   * Returns the edges of the last collection; undefined before the first one. Defined only by the probe whose edges
   * `/api/v1/flows` shows.
   */
  edges?(): FlowEdges | undefined;
  /** Like `edges`, but defined only by the probe whose UDP edges `/api/v1/map` shows. */
  datagrams?(): DatagramEdges | undefined;
  /** Returns the edges of the requests that the probe counts, as of the last collection; undefined before the first. */
  requests?(): RequestEdges | undefined;
  notShown?(): NotShown | undefined;
  /** Returns whether a namespace is shown; undefined for a probe without a pod filter. */
  readonly isShown?: ((id: NetnsId) => boolean) | undefined;
}

export interface Requirements {
  readonly capabilities: readonly `CAP_${string}`[];
  /**
   * Kernel features that the probe needs, as text for the documentation. At run time, the probe tests for these
   * features instead of checking the kernel version.
   */
  readonly kernel: string;
  /** Kernel module on which the probe depends, if any. Tests expect fewer metrics on machines without it. */
  readonly module?: string;
}

/** Introduction to a probe for operators who do not use it yet. docs/probes.md is generated from it. */
export interface Guide {
  /** Question that the probe answers. */
  readonly question: string;
  /** When to enable the probe or, if it is enabled by default, when to look at its metrics. */
  readonly when: string;
  /** PromQL query, for use without a dashboard. */
  readonly query: string;
  /** Limitations: sentences about what the probe cannot observe or counts in an unexpected way. */
  readonly limits: readonly [string, ...string[]];
}

export interface ProbeDefinition<M extends MetricSet, E extends EventSet, O extends OptionsShape> {
  /** Name in snake_case, used as the configuration key, the `probe` label and the name of the source file. */
  readonly name: string;
  readonly kind: ProbeKind;
  readonly cost: ProbeCost;
  /** Whether the probe runs without any configuration. */
  readonly enabledByDefault: boolean;
  /** One sentence that says what the probe observes and when to enable it. */
  readonly summary: string;
  readonly guide: Guide;
  readonly metrics: M;
  readonly events: E;
  /** Records of the kind that this probe produces. */
  readonly records?: RecordOffer;
  readonly options: O;
  /**
   * Settings that the running probe applies (`RunningProbe.apply`). If any other setting changes, the probe is closed and
   * opened again. The supervisor itself applies `budget` and what a page shows: `metrics`, `detail` and `fields`.
   */
  readonly inPlace?: readonly SettingKey<O>[];
  /** Hooks of a BPF probe. */
  readonly hooks?: HookTable;
  /** For each map that is not declared in src/bpf/common, the rule that prevents one owner from filling the map. */
  readonly maps?: Readonly<Record<string, MapRule>>;
  readonly requires: Requirements;
  readonly measured: Measured;
  /** Graphs in the probe's section of the dashboards. */
  readonly panels?: readonly ProbePanel<NoInfer<M>, NoInfer<E>>[];
  readonly alerts?: readonly ProbeAlert<NoInfer<M>>[];
  /**
   * Opens the probe.
   * @throws {Unsupported} if this machine lacks something that the probe needs; the agent does not retry
   * @throws any other error if opening fails; the agent retries with increasing delays
   */
  open(
    scope: ProbeScope<E>,
    sources: Sources,
    settings: ProbeSettings<OptionsOf<O>>,
  ): Promise<RunningProbe<NoInfer<M>, OptionsOf<O>>>;
}

/** A probe without its type parameters, for the supervisor and the list of probes. */
// biome-ignore lint/suspicious/noExplicitAny: the three type parameters are invariant and not used here
export type AnyProbe = ProbeDefinition<any, any, any>;

export function defineProbe<const M extends MetricSet, const E extends EventSet, O extends OptionsShape>(
  definition: ProbeDefinition<M, E, O>,
): ProbeDefinition<M, E, O> {
  return definition;
}
