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
import type { EventSet, Publish } from './event.ts';
import type { HookTable } from './hooks.ts';
import type { NetnsLife } from './life.ts';
import type { Detail, Emit, MetricSet } from './metric.ts';
import type { Owners } from './owners.ts';
import type { RecordOffer, RecordRules } from './records.ts';
import type { Retained, RetainedState } from './retained.ts';

/** What the agent offers every probe beside the readers of the kernel. */
export interface ProbeContext {
  readonly paths: Paths;
  /** Counts what could not be read, or made no sense. */
  readonly errors: SourceErrors;
  readonly filters: PodFilters;
  readonly owners: Owners;
  /** Births and deaths of namespaces. */
  readonly life: NetnsLife;
}

/** What a running probe holds. Closing the scope closes the probe. */
export interface ProbeScope<E extends EventSet> extends ProbeContext {
  /** Aborted when the probe is to close, also while it opens. */
  readonly signal: AbortSignal;
  /** Hands over a resource: released in reverse order, also when `open` fails half-way. Returns it. */
  own<R extends Disposable | AsyncDisposable>(resource: R): R;
  /** What earlier runs of this probe have left under a declaration, and later ones will find. */
  retained<T>(state: RetainedState<T>): Retained<T>;
  readonly publish: Publish<E>;
  /** For what is neither a failed collection nor a failed open, once for each change. */
  readonly warn: (message: string) => void;
}

/** A probe's own options: a schema for each key, with its default. */
export type OptionsShape = z.ZodRawShape;

export type OptionsOf<O extends OptionsShape> = z.output<z.ZodObject<O>>;

/** What a probe is opened with. */
export interface ProbeSettings<C> {
  readonly metrics: boolean;
  readonly events: boolean;
  /** Events a second that one owner may cause, with all of his namespaces, before the kernel refuses more. */
  readonly limit: number;
  /** Only these Pods; undefined: all, and the node. */
  readonly aim?: PodFilter | undefined;
  /** Which records it sends, of a probe that offers any. */
  readonly records?: RecordRules | undefined;
  /** The probe's own options. */
  readonly options: C;
}

/** What the configuration asks of one probe. */
export interface DesiredProbe {
  readonly settings: ProbeSettings<Readonly<Record<string, unknown>>>;
  readonly detail: Detail;
  /** The only series that are shown, as `FieldChoice` takes them; undefined: those of the detail. */
  readonly fields?: readonly string[] | undefined;
  /** Share of one CPU; undefined: as much as it takes. */
  readonly budget?: number | undefined;
}

/** By name; a probe that is not named is off. */
export type DesiredProbes = Readonly<Record<string, DesiredProbe>>;

/** What the configuration asks of the kernel thread. */
export interface DesiredKernel {
  readonly probes: DesiredProbes;
  /** Measure the run time of BPF programs, though no budget needs it. */
  readonly bpfStats: boolean;
  /** Most series of all probes on a page. */
  readonly series: number;
}

export interface ProgramStatus {
  readonly name: string;
  /** The program's hook: `tp_btf/kfree_skb`. */
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

/** What a BPF program saw and could not count, by cause; a cause that a probe cannot have is not there. */
export type Uncounted = Readonly<Partial<Record<'map_full' | 'untracked' | 'no_netns', Counter>>>;

/** What a BPF program has counted that is in no row of the page. */
export interface NotShown {
  /** Of Pods and namespaces whose rows have left the page; never falls. */
  readonly departed: Counter;
  /** In namespaces whose owner is still looked for. */
  readonly waiting: Counter;
}

export interface RunningProbe<M extends MetricSet> {
  health(): ReaderHealth;
  /** Called once a scrape where metrics are wanted. To emit nothing is not an error. */
  collect?(emit: Emit<M>, cycle: Cycle): Promise<void>;
  programs?(): readonly ProgramStatus[];
  /** Bytes that each map holds in the kernel, by map name. */
  mapBytes?(): Readonly<Record<string, number>>;
  ledger?(): KernelLedger;
  uncounted?(): Uncounted;
  notShown?(): NotShown | undefined;
  /** Of a probe that is aimed: the only namespaces that it is to show. */
  readonly isShown?: ((id: NetnsId) => boolean) | undefined;
}

export interface Requirements {
  readonly capabilities: readonly `CAP_${string}`[];
  /** What the kernel must offer, in words. Asked from the kernel when the probe opens, never from its version. */
  readonly kernel: string;
}

/** What an operator wants to know of a probe before there is a number of it: docs/probes.md is made from it. */
export interface Guide {
  /** What it answers. */
  readonly question: string;
  /** When to switch it on; of one that is on by default, when to look at it. */
  readonly when: string;
  /** PromQL, for where there is no dashboard at hand. */
  readonly query: string;
  /** What it does not see, or counts other than one would think. Sentences. */
  readonly limits: readonly [string, ...string[]];
}

export interface ProbeDefinition<M extends MetricSet, E extends EventSet, O extends OptionsShape> {
  /** snake_case: configuration key, `probe` label, file stem. */
  readonly name: string;
  readonly kind: ProbeKind;
  readonly cost: ProbeCost;
  /** Runs without any configuration. */
  readonly enabledByDefault: boolean;
  /** One sentence: what it sees, when to switch it on. */
  readonly summary: string;
  readonly guide: Guide;
  readonly metrics: M;
  readonly events: E;
  /** Records of a kind of its own. */
  readonly records?: RecordOffer;
  readonly options: O;
  /** Where a BPF probe attaches. */
  readonly hooks?: HookTable;
  readonly requires: Requirements;
  /**
   * @throws {Unsupported} where this machine lacks what the probe needs: it is not tried again
   * @throws anything else: tried again with growing pauses
   */
  open(
    scope: ProbeScope<E>,
    sources: Sources,
    settings: ProbeSettings<OptionsOf<O>>,
  ): Promise<RunningProbe<NoInfer<M>>>;
}

/** A probe whose types have been forgotten, as the supervisor and the list of probes see it. */
// biome-ignore lint/suspicious/noExplicitAny: the three type parameters are invariant; nobody looks inside here
export type AnyProbe = ProbeDefinition<any, any, any>;

export function defineProbe<const M extends MetricSet, const E extends EventSet, O extends OptionsShape>(
  definition: ProbeDefinition<M, E, O>,
): ProbeDefinition<M, E, O> {
  return definition;
}
