import type { z } from 'zod';
import type { ProbeCost, ProbeKind } from '#api/words.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { PodFilter, PodFilters } from '#core/pod_filter.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { SourceErrors } from '#sources/errors.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeAlert } from './alert.ts';
import type { EventSet, Publish } from './event.ts';
import type { HookTable } from './hooks.ts';
import type { NetnsLife } from './life.ts';
import type { MapRule } from './map_rule.ts';
import type { Measured } from './measured.ts';
import type { Detail, Emit, MetricSet } from './metric.ts';
import type { Owners } from './owners.ts';
import type { ProbePanel } from './panel.ts';
import type { RecordOffer, RecordRules } from './records.ts';
import type { Retained, RetainedState } from './retained.ts';

/** Services that the agent offers every probe beside the readers of the kernel. */
export interface ProbeContext {
  readonly paths: Paths;
  /** Counts sources that could not be read, or were malformed. */
  readonly errors: SourceErrors;
  readonly filters: PodFilters;
  readonly owners: Owners;
  /** Births and deaths of namespaces. */
  readonly life: NetnsLife;
  readonly node: NodeFacts;
}

/** The network of this node as the Kubernetes API describes it; empty without Kubernetes, and until the API server has answered. */
export interface NodeFacts {
  /** Networks of the Pods on this node (podCIDRs); the same array until they change. */
  readonly podNetworks: readonly string[];
  /** Returns whether a Pod on this node has the address. */
  isPodAddress(ip: string): boolean;
}

/** Resources of a running probe. Closing the scope closes the probe. */
export interface ProbeScope<E extends EventSet> extends ProbeContext {
  /** Aborted when the probe is to close, also while it opens. */
  readonly signal: AbortSignal;
  /** Hands over a resource: released in reverse order, also when `open` fails half-way. Returns it. */
  own<R extends Disposable | AsyncDisposable>(resource: R): R;
  /** Returns the state that earlier runs of this probe left under a declaration, and that later runs will find. */
  retained<T>(state: RetainedState<T>): Retained<T>;
  readonly publish: Publish<E>;
  /** Reports a problem that is neither a failed collection nor a failed open, once for each change. */
  readonly warn: (message: string) => void;
}

/** A probe's own options: a schema for each key, with its default. */
export type OptionsShape = z.ZodRawShape;

export type OptionsOf<O extends OptionsShape> = z.output<z.ZodObject<O>>;

/** Settings that a probe is opened with. */
export interface ProbeSettings<C> {
  readonly metrics: boolean;
  readonly events: boolean;
  /** Events per second that one owner may cause, with all of its namespaces, before the kernel refuses more. */
  readonly limit: number;
  /** Pods that the probe is restricted to; undefined for all Pods and the node. */
  readonly podFilter?: PodFilter | undefined;
  /** Rules for the records that are sent, where the probe offers any. */
  readonly records?: RecordRules | undefined;
  /** The probe's own options. */
  readonly options: C;
}

/** Configuration of one probe. */
export interface DesiredProbe {
  readonly settings: ProbeSettings<Readonly<Record<string, unknown>>>;
  readonly detail: Detail;
  /** Only series that are shown, as `FieldChoice` takes them; undefined for those of the detail. */
  readonly fields?: readonly string[] | undefined;
  /** Largest share of one CPU that the probe may use; undefined for no limit. */
  readonly budget?: number | undefined;
}

/** Configuration of probes by name; a probe that is not named is off. */
export type DesiredProbes = Readonly<Record<string, DesiredProbe>>;

/** Configuration of the kernel thread. */
export interface DesiredKernel {
  readonly probes: DesiredProbes;
  /** True to measure the run time of BPF programs even where no budget needs it. */
  readonly bpfStats: boolean;
  /** Most series of all probes on a page. */
  readonly series: number;
}

export interface ProgramStatus {
  readonly name: string;
  /** Hook of the program: `tp_btf/kfree_skb`. */
  readonly hook: string;
  readonly id: number;
  readonly runs: bigint;
  readonly runSeconds: number;
  readonly missed: bigint;
}

/** Counts since the agent's start, of this and of earlier runs of the probe. */
export interface KernelLedger {
  readonly produced: bigint;
  readonly limited: bigint;
  readonly lost: bigint;
}

/** Occurrences that a BPF program saw and could not count, by cause; causes that a probe cannot have are missing. */
export type Uncounted = Readonly<Partial<Record<'map_full' | 'untracked' | 'no_netns', Counter>>>;

/** Counts of a BPF program that are in no row of the page. */
export interface NotShown {
  /** Count of Pods and namespaces whose rows have left the page; never falls. */
  readonly departed: Counter;
  /** Count of namespaces whose owner is still being searched for. */
  readonly waiting: Counter;
}

export interface RunningProbe<M extends MetricSet> {
  health(): ReaderHealth;
  /** Called once per scrape where metrics are on. Emitting nothing is not an error. */
  collect?(emit: Emit<M>, cycle: Cycle): Promise<void>;
  programs?(): readonly ProgramStatus[];
  /** Bytes that each map holds in the kernel, by map name. */
  mapBytes?(): Readonly<Record<string, number>>;
  ledger?(): KernelLedger;
  uncounted?(): Uncounted;
  notShown?(): NotShown | undefined;
  /** Returns whether a namespace is shown; undefined for a probe without a pod filter. */
  readonly isShown?: ((id: NetnsId) => boolean) | undefined;
}

export interface Requirements {
  readonly capabilities: readonly `CAP_${string}`[];
  /** Features that the kernel must offer, in words. The kernel is asked when the probe opens; its version is not used. */
  readonly kernel: string;
  /** The kernel module that brings it, which is not on every machine: tests expect less of the probe where it is missing. */
  readonly module?: string;
}

/** Guide to a probe for operators who have no numbers of it yet: docs/probes.md is generated from it. */
export interface Guide {
  /** Question that the probe answers. */
  readonly question: string;
  /** When to switch the probe on; for a probe that is on by default, when to look at it. */
  readonly when: string;
  /** PromQL query, for use without a dashboard. */
  readonly query: string;
  /** Sentences on what the probe does not see, or counts differently than expected. */
  readonly limits: readonly [string, ...string[]];
}

export interface ProbeDefinition<M extends MetricSet, E extends EventSet, O extends OptionsShape> {
  /** snake_case: configuration key, `probe` label, file stem. */
  readonly name: string;
  readonly kind: ProbeKind;
  readonly cost: ProbeCost;
  /** True where the probe runs without any configuration. */
  readonly enabledByDefault: boolean;
  /** One sentence: what the probe sees, and when to switch it on. */
  readonly summary: string;
  readonly guide: Guide;
  readonly metrics: M;
  readonly events: E;
  /** Records of the probe's own kind. */
  readonly records?: RecordOffer;
  readonly options: O;
  /** Places where a BPF probe attaches. */
  readonly hooks?: HookTable;
  /** Rule of whose room it is, for each map of its program that src/bpf/common does not have. */
  readonly maps?: Readonly<Record<string, MapRule>>;
  readonly requires: Requirements;
  readonly measured: Measured;
  /** Graphs on the dashboards, in a section of the probe. */
  readonly panels?: readonly ProbePanel<NoInfer<M>, NoInfer<E>>[];
  readonly alerts?: readonly ProbeAlert<NoInfer<M>>[];
  /**
   * @throws {Unsupported} where this machine lacks something that the probe needs: there is no retry
   * @throws anything else: retried with growing pauses
   */
  open(
    scope: ProbeScope<E>,
    sources: Sources,
    settings: ProbeSettings<OptionsOf<O>>,
  ): Promise<RunningProbe<NoInfer<M>>>;
}

/** A probe with its types erased, as the supervisor and the list of probes see it. */
// biome-ignore lint/suspicious/noExplicitAny: the three type parameters are invariant, and not used here
export type AnyProbe = ProbeDefinition<any, any, any>;

export function defineProbe<const M extends MetricSet, const E extends EventSet, O extends OptionsShape>(
  definition: ProbeDefinition<M, E, O>,
): ProbeDefinition<M, E, O> {
  return definition;
}
