import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** A label whose every value is known at build time, so its cost is known too. */
export interface ClosedLabel {
  readonly help: string;
  readonly values: readonly [string, ...string[]];
}

/**
 * A label whose values come from the kernel. One entity shows at most `max` of them; the others are added up under
 * the value `*`.
 */
export interface OpenLabel {
  readonly help: string;
  readonly example: string;
  readonly max: number;
}

export type Label = ClosedLabel | OpenLabel;

/** `pod`: per network namespace. `node`: the machine as a whole. `agent`: netsonde about itself. */
export type Scope = 'pod' | 'node' | 'agent';

/** Which metrics of a probe are shown: those that people look at every day, or all. */
export type Detail = 'core' | 'full';

/** Everything about a metric, once: `/metrics`, docs/metrics.md and the dashboards are made from it. */
export interface MetricDescriptor {
  /** The full name, literally, so that grep finds it. Base units; counters end in `_total`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit?: 'seconds' | 'bytes' | 'ratio';
  /** One sentence for an operator. */
  readonly help: string;
  /** Where the number is born: a file and field, a netlink attribute, a BPF map. */
  readonly source: string;
  readonly scope: Scope;
  /** `core` is shown by default, `full` only with `detail: full`. */
  readonly detail: Detail;
  readonly labels: Readonly<Record<string, Label>>;
  /** Upper bounds of a histogram, ascending, without +Inf. */
  readonly buckets?: readonly number[];
}

export type MetricSet = Readonly<Record<string, MetricDescriptor>>;

/** Keeps the literal types of the descriptors, which make Emit check labels and subjects. */
export function defineMetrics<const M extends MetricSet>(metrics: M): M {
  return metrics;
}

/** The subject of a number that is the machine's, not a namespace's. */
export const NODE = 'node';

/** Whom a sample belongs to. A number of the whole machine on a Pod does not compile, nor the reverse. */
export type Subject<D extends MetricDescriptor> = D['scope'] extends 'pod' ? NetnsId : typeof NODE;

export type LabelValues<D extends MetricDescriptor> = {
  readonly [K in keyof D['labels']]: D['labels'][K] extends { readonly values: readonly (infer V extends string)[] }
    ? V
    : string;
};

/** Counts of a histogram, one for each bucket of its descriptor and one above them, not cumulative; and the sum. */
export interface HistogramValue {
  readonly counts: readonly Counter[];
  readonly sum: number;
  /** The first and the last bucket that has a series of its own; what lies outside is in the next one. All by default. */
  readonly shown?: BucketRange | undefined;
}

/** Indices into the buckets of a descriptor, both included. */
export interface BucketRange {
  readonly first: number;
  readonly last: number;
}

export type Value<D extends MetricDescriptor> = D['type'] extends 'histogram' ? HistogramValue : Counter;

/** What only the caller knows of a sample. */
export interface EmitOptions {
  /** Never collapse this one into `*`. */
  readonly keep?: boolean;
}

export interface Emit<M extends MetricSet> {
  /** Hands one sample to the collector. Later samples with the same subject and labels replace earlier ones. */
  <K extends keyof M & string>(
    metric: K,
    subject: Subject<M[K]>,
    value: Value<M[K]>,
    labels: LabelValues<M[K]>,
    options?: EmitOptions,
  ): void;
  /** Whether the metric is shown, at the detail that is asked for: what is not need not be read. */
  wants(metric: keyof M & string): boolean;
}

/** Emit for metrics that are chosen by a table at run time, where types cannot follow. */
export interface LooseEmit {
  (
    metric: string,
    subject: NetnsId | typeof NODE,
    value: Counter | HistogramValue,
    labels: Readonly<Record<string, string>>,
    options?: EmitOptions,
  ): void;
  wants(metric: string): boolean;
}

export const NO_LABELS = {} as const;

export function isOpen(label: Label): label is OpenLabel {
  return 'max' in label;
}
