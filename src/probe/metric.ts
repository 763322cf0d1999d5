import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Mib4Table, Mib6Table, MibTable } from '#sources/mib/tables.ts';

/** A label whose values are all known at build time, which makes its number of series predictable. */
export interface ClosedLabel {
  readonly help: string;
  readonly values: readonly [string, ...string[]];
}

/**
 * A label whose values come from the kernel. Each entity shows at most `max` values. All further values are summed
 * under the value `*`.
 */
export interface OpenLabel {
  readonly help: string;
  readonly example: string;
  readonly max: number;
  /**
   * True if the object named by a value may have been counted elsewhere before, such as a device that was moved to
   * another namespace. A new row then does not start from zero.
   */
  readonly moves?: true;
}

/**
 * Limits the combinations of values of several labels. An edge is one such combination. All metrics whose labels
 * refer to the same object show the same edges of an entity: those that grow fastest according to `rank`. The other
 * edges are summed in one row whose joint labels are all `*`. The invariants are documented in
 * `src/collectors/edges.ts`.
 */
export interface JointBound {
  /** Maximum number of edges per entity, by detail. */
  readonly max: Readonly<Record<'core' | 'full', number>>;
  /**
   * Keys of the metrics whose growth ranks the edges. They must have detail `core`. Histograms rank by their number
   * of observations.
   */
  readonly rank: readonly string[];
}

/** A label whose values come from the kernel and are limited in combination with other labels. */
export interface JointLabel {
  readonly help: string;
  readonly example: string;
  readonly joint: JointBound;
  /**
   * Maximum number of values for each combination of the other joint labels; further values become `*`. At most one
   * label of a `JointBound` may set it.
   */
  readonly max?: number;
}

export type Label = ClosedLabel | OpenLabel | JointLabel;

/** `pod`: per network namespace. `node`: the whole node. `agent`: netsonde itself. */
export type Scope = 'pod' | 'node' | 'agent';

/** Amount of detail that a probe shows: only the metrics for everyday use, or all of them. */
export type Detail = 'core' | 'full';

/** A MIB field by its table and name, and its unit if that differs from the metric's unit. */
export type MibPlace<T extends MibTable> = readonly [table: T, field: string, unit?: 'milliseconds'];

/** Source of the value: a MIB field, or text that names a file and field, a netlink attribute or a BPF map. */
type Origin =
  | { readonly mib: MibPlace<Mib4Table>; readonly mib6?: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6?: never; readonly source: string };

/** Complete description of a metric. `/metrics`, docs/metrics.md and the dashboards are generated from it. */
export type MetricDescriptor = Description & Origin;

interface Description {
  /** Full metric name, written out to be searchable. Uses base units; counters end in `_total`. */
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

/** Preserves the literal types of the descriptors so that Emit can check labels and subjects at compile time. */
export function defineMetrics<const M extends MetricSet>(metrics: M): M {
  return metrics;
}

/** Subject of samples that describe the node instead of a namespace. */
export const NODE = 'node';

/** Subject of a sample. Emitting a node metric for a namespace, or vice versa, does not compile. */
export type Subject<D extends MetricDescriptor> = D['scope'] extends 'pod' ? NetnsId : typeof NODE;

export type LabelValues<D extends MetricDescriptor> = {
  readonly [K in keyof D['labels']]: D['labels'][K] extends { readonly values: readonly (infer V extends string)[] }
    ? V
    : string;
};

/**
 * Histogram sample. `counts` has one count for each bucket and one for larger values; the counts are not cumulative.
 */
export interface HistogramValue {
  readonly counts: readonly Counter[];
  readonly sum: number;
  /**
   * First and last bucket with a series of their own. Values of any other bucket are counted in the next larger bucket
   * that has a series. Default: all buckets.
   */
  readonly shown?: BucketRange | undefined;
}

/** Indices into the buckets of a descriptor, both inclusive. */
export interface BucketRange {
  readonly first: number;
  readonly last: number;
}

export type Value<D extends MetricDescriptor> = D['type'] extends 'histogram' ? HistogramValue : Counter;

/** Properties of a sample that its descriptor does not specify. */
export interface EmitOptions {
  /** True if the sample must never be collapsed into `*`. */
  readonly keep?: boolean;
  /**
   * Number that identifies the object named by the open label, even after it is renamed. It prevents a renamed object
   * that is part of `*` from being counted twice.
   */
  readonly identity?: number | undefined;
}

export interface Emit<M extends MetricSet> {
  /** Passes one sample to the collector. A later sample with the same subject and labels replaces it. */
  <K extends keyof M & string>(
    metric: K,
    subject: Subject<M[K]>,
    value: Value<M[K]>,
    labels: LabelValues<M[K]>,
    options?: EmitOptions,
  ): void;
  /**
   * Passes a whole column: one sample for each namespace.
   * @param subjects must not change until the collection ends; columns that use the same array share one look-up
   * @param value returns the value for the index of a namespace; undefined for no sample
   */
  column<K extends keyof M & string>(
    metric: K,
    subjects: readonly NetnsId[],
    labels: LabelValues<M[K]>,
    value: (row: number) => Value<M[K]> | undefined,
  ): void;
  /** Passes the rows of a source to metrics with joint labels. The rows are part of the collection, like samples. */
  rows<Row>(bound: JointBound, rows: Iterable<Row>, reader: RowReader<M, Row>): void;
  /** Returns whether the metric is shown at the requested detail. Other metrics need not be read. */
  wants(metric: keyof M & string): boolean;
}

/** Key of a row in its source. */
export type RowKey = string | number | bigint;

/** Reads the rows of a source. Rows with the same labels are summed, so 200 addresses of one Service form one edge. */
export interface RowReader<M extends MetricSet, Row> {
  subject(row: Row): NetnsId | typeof NODE;
  /** Identifies the row among the rows of its subject. A decrease of its values means that it restarted from zero. */
  key(row: Row): RowKey;
  /**
   * Returns the current joint labels of the row. Earlier counts of the row keep the labels that it had at that time.
   * Returning the same object for the same labels saves a look-up.
   */
  labels(row: Row): Readonly<Record<string, string>>;
  /** Emits the totals of the row, each with its non-joint labels. */
  samples(row: Row, put: PutSample<M>): void;
  /**
   * True if the source deletes the row once a collection has counted it. A later row with the same key restarts from
   * zero.
   */
  isLast?(row: Row): boolean;
  /**
   * Called after a collection has counted the last values of a row. The source must return the row until then, and may
   * forget it afterwards.
   */
  counted?(row: Row): void;
  /** Maximum number of edges per entity if the configuration overrides the descriptor. */
  readonly max?: number | undefined;
  /** Maximum number of values of the label that sets `JointLabel.max`, if the configuration overrides it. */
  readonly labelMax?: number | undefined;
}

/** Emits one value of a row. A label value that the metric does not declare fails the collection. */
export type PutSample<M extends MetricSet> = (
  metric: keyof M & string,
  value: Counter | HistogramValue,
  labels: Readonly<Record<string, string>>,
) => void;

export type LooseRowReader<Row> = RowReader<MetricSet, Row>;

/** Emit function without type checks, for metrics that are chosen at run time from a table. */
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
