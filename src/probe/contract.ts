import type { z } from 'zod';
import type { ProbeCost, ProbeKind } from '#api/words.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { PodFilter, PodFilters } from '#core/pod_filter.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { SourceErrors } from '#sources/errors.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeAlert } from './alert.ts';
import type { EventSet, Publish } from './event.ts';
import type { FlowEdges } from './flow_edges.ts';
import type { HookTable } from './hooks.ts';
import type { HostPods } from './host_pods.ts';
import type { NetnsLife } from './life.ts';
import type { MapRule } from './map_rule.ts';
import type { Measured } from './measured.ts';
import type { Detail, Emit, MetricSet } from './metric.ts';
import type { Owners } from './owners.ts';
import type { ProbePanel } from './panel.ts';
import type { OfferRecord, RecordOffer, RecordRules, Unoffered } from './records.ts';
import type { Retained, RetainedState } from './retained.ts';
import type { KernelLedger, NotShown, ProgramStatus, Uncounted } from './status.ts';
import type { TcpEndsProvider } from './tcp_ends_use.ts';

/** Services of the agent that are available to every probe, in addition to the readers of kernel data. */
export interface ProbeContext {
  readonly paths: Paths;
  /** Counts sources that could not be read or were malformed. */
  readonly errors: SourceErrors;
  readonly filters: PodFilters;
  readonly owners: Owners;
  readonly hostPods: HostPods;
  /** Reports when namespaces are created and removed. */
  readonly life: NetnsLife;
  readonly node: NodeFacts;
  /** Shared counts of ended TCP sockets. */
  readonly tcpEnds: TcpEndsProvider;
}

/**
 * Facts about this node's network from the Kubernetes API. Empty without Kubernetes, and until the API server has
 * responded.
 */
export interface NodeFacts {
  /** Pod networks of this node (podCIDRs). The property holds the same array until the networks change. */
  readonly podNetworks: readonly string[];
  /** Returns whether a Pod on this node has the address. */
  isPodAddress(ip: string): boolean;
}

/** Resources of a running probe. Closing the scope releases them, which closes the probe. */
export interface ProbeScope<E extends EventSet> extends ProbeContext {
  /** Aborted when the probe must close, even if it is still opening. */
  readonly signal: AbortSignal;
  /** Registers a resource and returns it. Resources are released in reverse order, also when `open` fails half-way. */
  own<R extends Disposable | AsyncDisposable>(resource: R): R;
  /**
   * Returns the state that earlier runs of this probe stored under the declaration. Later runs see any changes made to
   * it.
   */
  retained<T>(state: RetainedState<T>): Retained<T>;
  readonly publish: Publish<E>;
  /** Offers a record of the kind that the probe declares. */
  readonly record: OfferRecord;
  /** Reports a problem other than a failed `open` or `collect`. A message is reported again only if it changes. */
  readonly warn: (message: string) => void;
}

/** The probe's own options: a schema for each key, including its default. */
export type OptionsShape = z.ZodRawShape;

export type OptionsOf<O extends OptionsShape> = z.output<z.ZodObject<O>>;

/** Settings for opening a probe. */
export interface ProbeSettings<C> {
  readonly metrics: boolean;
  readonly events: boolean;
  /**
   * Maximum number of events per second per owner, summed over the owner's namespaces. The kernel discards events above
   * this rate.
   */
  readonly limit: number;
  /** Pods that the probe observes; undefined for all Pods and the node. */
  readonly podFilter?: PodFilter | undefined;
  /** Rules that select the records to send; undefined if the probe offers no records. */
  readonly records?: RecordRules | undefined;
  /** The probe's own options. */
  readonly options: C;
}

/** Configuration of one probe. */
export interface DesiredProbe {
  readonly settings: ProbeSettings<Readonly<Record<string, unknown>>>;
  readonly detail: Detail;
  /** Series to show, in the syntax of `FieldChoice`; undefined to show all series of the chosen detail. */
  readonly fields?: readonly string[] | undefined;
  /** Maximum share of one CPU that the probe may use; undefined for no limit. */
  readonly budget?: number | undefined;
}

/** Probe configurations by name. Probes without an entry are disabled. */
export type DesiredProbes = Readonly<Record<string, DesiredProbe>>;

/** Configuration of the kernel thread. */
export interface DesiredKernel {
  readonly probes: DesiredProbes;
  /** True to measure the run time of BPF programs even if no probe has a CPU budget. */
  readonly bpfStats: boolean;
  /** Maximum number of series on one page, summed over all probes. */
  readonly series: number;
}

export interface RunningProbe<M extends MetricSet> {
  health(): ReaderHealth;
  /** Called once per scrape if metrics are enabled. The probe may emit nothing. */
  collect?(emit: Emit<M>, cycle: Cycle): Promise<void>;
  programs?(): readonly ProgramStatus[];
  /** Memory of each map in bytes, by map name. */
  mapBytes?(): Readonly<Record<string, number>>;
  ledger?(): KernelLedger;
  /** Counts of records that the probe could not offer. Only defined by probes that receive records through a ring. */
  unoffered?(): Unoffered;
  uncounted?(): Uncounted;
  /**
   * Returns the edges of the last collection, or undefined before the first one. Only defined by the probe whose edges
   * `/api/v1/flows` shows.
   */
  edges?(): FlowEdges | undefined;
  notShown?(): NotShown | undefined;
  /** Returns whether a namespace is shown; undefined for a probe without a pod filter. */
  readonly isShown?: ((id: NetnsId) => boolean) | undefined;
}

export interface Requirements {
  readonly capabilities: readonly `CAP_${string}`[];
  /**
   * Kernel features that the probe needs, as text for the documentation. At run time the probe tests for the features
   * and ignores the kernel version.
   */
  readonly kernel: string;
  /** Kernel module that the probe depends on, if any. Tests expect less on machines without it. */
  readonly module?: string;
}

/** Guide to a probe for operators who do not use it yet. docs/probes.md is generated from it. */
export interface Guide {
  /** Question that the probe answers. */
  readonly question: string;
  /** When to enable the probe. For a probe that is enabled by default, when to look at its metrics. */
  readonly when: string;
  /** PromQL query, for use without a dashboard. */
  readonly query: string;
  /** Limitations: sentences about what the probe does not see or counts in an unexpected way. */
  readonly limits: readonly [string, ...string[]];
}

export interface ProbeDefinition<M extends MetricSet, E extends EventSet, O extends OptionsShape> {
  /** Name in snake_case, used as the configuration key, the `probe` label and the name of the source file. */
  readonly name: string;
  readonly kind: ProbeKind;
  readonly cost: ProbeCost;
  /** True if the probe runs without any configuration. */
  readonly enabledByDefault: boolean;
  /** One sentence that says what the probe observes and when to enable it. */
  readonly summary: string;
  readonly guide: Guide;
  readonly metrics: M;
  readonly events: E;
  /** Records of the kind that this probe produces. */
  readonly records?: RecordOffer;
  readonly options: O;
  /** Hooks of a BPF probe. */
  readonly hooks?: HookTable;
  /** Rule that keeps one owner from filling a map, for each map that is not declared in src/bpf/common. */
  readonly maps?: Readonly<Record<string, MapRule>>;
  readonly requires: Requirements;
  readonly measured: Measured;
  /** Graphs in the probe's section of the dashboards. */
  readonly panels?: readonly ProbePanel<NoInfer<M>, NoInfer<E>>[];
  readonly alerts?: readonly ProbeAlert<NoInfer<M>>[];
  /**
   * @throws {Unsupported} if this machine lacks something that the probe needs; the agent does not retry
   * @throws any other error; the agent retries with increasing delays
   */
  open(
    scope: ProbeScope<E>,
    sources: Sources,
    settings: ProbeSettings<OptionsOf<O>>,
  ): Promise<RunningProbe<NoInfer<M>>>;
}

/** A probe with its types erased, for the supervisor and the list of probes. */
// biome-ignore lint/suspicious/noExplicitAny: the three type parameters are invariant and not used here
export type AnyProbe = ProbeDefinition<any, any, any>;

export function defineProbe<const M extends MetricSet, const E extends EventSet, O extends OptionsShape>(
  definition: ProbeDefinition<M, E, O>,
): ProbeDefinition<M, E, O> {
  return definition;
}
