import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Mib4Table, Mib6Table, MibTable } from '#sources/mib/tables.ts';

/** A label whose values are all known at build time, so that its cost is known too. */
export interface ClosedLabel {
  readonly help: string;
  readonly values: readonly [string, ...string[]];
}

/** A label whose values come from the kernel. One entity shows at most `max` of them; the others are added up under the value `*`. */
export interface OpenLabel {
  readonly help: string;
  readonly example: string;
  readonly max: number;
  /**
   * True where the thing that a value names may have counted elsewhere before, such as a moved device: a new row does not start from zero.
   */
  readonly moves?: true;
}

/**
 * Bounds several labels of a probe's metrics together. An edge is one combination of their values. All metrics whose labels
 * refer to the same bound show the same edges of an entity: the edges that grow most by `rank`. The others are added up in
 * one row whose joint labels are `*`. `src/collectors/edges.ts` has the invariants.
 */
export interface JointBound {
  /** Edges that one entity shows, by detail. */
  readonly max: Readonly<Record<'core' | 'full', number>>;
  /** Keys of the metrics whose growth ranks edges: counters, or histograms by their observations, of detail `core`. */
  readonly rank: readonly string[];
}

/** A label whose values come from the kernel and that is bounded together with others. */
export interface JointLabel {
  readonly help: string;
  readonly example: string;
  readonly joint: JointBound;
  /** Values shown for each combination of the other joint labels; further ones are `*`. One label of a bound may have it. */
  readonly max?: number;
}

export type Label = ClosedLabel | OpenLabel | JointLabel;

/** `pod`: per network namespace. `node`: the machine as a whole. `agent`: netsonde about itself. */
export type Scope = 'pod' | 'node' | 'agent';

/** Detail of a probe: only the metrics for everyday use, or all. */
export type Detail = 'core' | 'full';

/** A field of the kernel's MIBs, under its name in the table; the unit where the metric has another. */
export type MibPlace<T extends MibTable> = readonly [table: T, field: string, unit?: 'milliseconds'];

/** Origin of the number: a field of the MIBs, or in words a file and field, a netlink attribute, or a BPF map. */
type Origin =
  | { readonly mib: MibPlace<Mib4Table>; readonly mib6?: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6?: never; readonly source: string };

/** Full description of a metric, in one place: `/metrics`, docs/metrics.md and the dashboards are generated from it. */
export type MetricDescriptor = Description & Origin;

interface Description {
  /** Full name, written out so that grep finds it. Base units; counters end in `_total`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit?: 'seconds' | 'bytes' | 'ratio';
  /** One sentence for an operator. */
  readonly help: string;
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

/** Subject of a number of the machine, not of a namespace. */
export const NODE = 'node';

/** Subject that a sample belongs to. A number of the whole machine on a Pod does not compile, nor the reverse. */
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
  /** First and last bucket with a series of its own; values outside are in the next one. All by default. */
  readonly shown?: BucketRange | undefined;
}

/** Indices into the buckets of a descriptor, both inclusive. */
export interface BucketRange {
  readonly first: number;
  readonly last: number;
}

export type Value<D extends MetricDescriptor> = D['type'] extends 'histogram' ? HistogramValue : Counter;

/** Facts about a sample that only the caller knows. */
export interface EmitOptions {
  /** True where the sample must never be collapsed into `*`. */
  readonly keep?: boolean;
  /** Number of the thing that the open label names, where it may be renamed: under `*` it continues, and is not counted again. */
  readonly identity?: number | undefined;
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
  /**
   * Hands over a column: for each namespace the sample that `emit` would hand over.
   * @param subjects not changed until the end of the collection: equal columns of namespaces share one look-up
   * @param value returns the value by the index of the namespace; undefined where it has no such sample
   */
  column<K extends keyof M & string>(
    metric: K,
    subjects: readonly NetnsId[],
    labels: LabelValues<M[K]>,
    value: (row: number) => Value<M[K]> | undefined,
  ): void;
  /** Hands the rows of a source to metrics whose labels are bounded together. Takes part in the collection as samples do. */
  rows<Row>(bound: JointBound, rows: Iterable<Row>, reader: RowReader<M, Row>): void;
  /** Returns whether the metric is shown at the requested detail: other metrics need not be read. */
  wants(metric: keyof M & string): boolean;
}

/** Key of a row at its source. */
export type RowKey = string | number | bigint;

/** Reads the rows of a source. Rows whose labels are equal are added up: 200 addresses of one Service are one edge. */
export interface RowReader<M extends MetricSet, Row> {
  subject(row: Row): NetnsId | typeof NODE;
  /** Permanent name of the row among those of its subject: a value below the last one means that it started again from zero. */
  key(row: Row): RowKey;
  /**
   * Joint labels, as they are known now. Earlier counts of the row stay with the labels that it had then. One object for equal labels saves
   * a look-up.
   */
  labels(row: Row): Readonly<Record<string, string>>;
  /** Emits the totals of the row, each with its labels that are not joint. */
  samples(row: Row, put: PutSample<M>): void;
  /** True where the source deletes the row after this: under the same key it starts again from zero. */
  isLast?(row: Row): boolean;
  /** Number of edges that one entity shows, where the configuration differs from the descriptor. */
  readonly max?: number | undefined;
  /** Same for the label that has a bound of its own. */
  readonly labelMax?: number | undefined;
}

/** A label value that the metric does not have; it fails the collection. */
export type PutSample<M extends MetricSet> = (
  metric: keyof M & string,
  value: Counter | HistogramValue,
  labels: Readonly<Record<string, string>>,
) => void;

export type LooseRowReader<Row> = RowReader<MetricSet, Row>;

/** Emit function for metrics chosen by a table at run time, where types cannot follow. */
export interface LooseEmit {
  (
    metric: string,
    subject: NetnsId | typeof NODE,
    value: Counter | HistogramValue,
    labels: Readonly<Record<string, string>>,
    options?: EmitOptions,
  ): void;
  column(
    metric: string,
    subjects: readonly NetnsId[],
    labels: Readonly<Record<string, string>>,
    value: (row: number) => Counter | HistogramValue | undefined,
  ): void;
  rows<Row>(bound: JointBound, rows: Iterable<Row>, reader: LooseRowReader<Row>): void;
  wants(metric: string): boolean;
}

export const NO_LABELS = {} as const;

export function isOpen(label: Label): label is OpenLabel {
  return 'max' in label && !isJoint(label);
}

export function isClosed(label: Label): label is ClosedLabel {
  return 'values' in label;
}

export function isJoint(label: Label): label is JointLabel {
  return 'joint' in label;
}
