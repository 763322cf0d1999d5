import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Mib4Table, Mib6Table, MibTable } from '#sources/mib/tables.ts';

/** A label whose possible values are all known at build time, so that the number of series can be predicted. */
export interface ClosedLabel {
  readonly help: string;
  readonly values: readonly [string, ...string[]];
}

/**
 * A label whose values come from the kernel. At most `max` values are shown for each entity. All other values are
 * summed under the value `*`.
 */
export interface OpenLabel {
  readonly help: string;
  readonly example: string;
  readonly max: number;
  /**
   * Whether the object that a value names may have been counted elsewhere before, like a device that was moved to
   * another namespace. If so, a new row does not start at zero.
   */
  readonly moves?: true;
}

/**
 * Limit for the combinations of values of several labels. One such combination is called an edge. All metrics whose
 * labels refer to the same object show the same edges of an entity: those that increase fastest according to `rank`.
 * The other edges are summed in one row in which all joint labels are `*`. The invariants are documented in
 * `src/collectors/edges.ts`.
 */
export interface JointBound {
  /** Maximum number of edges per entity, depending on the detail. */
  readonly max: Readonly<Record<'core' | 'full', number>>;
  /**
   * Keys of the metrics whose increase determines the rank of an edge. They must have the detail `core`. For a
   * histogram, the number of observations counts.
   */
  readonly rank: readonly string[];
}

/** A label whose values come from the kernel and are limited in combination with those of other labels. */
export interface JointLabel {
  readonly help: string;
  readonly example: string;
  readonly joint: JointBound;
  /** Whether the label is omitted from a series in which its value is empty or, like `*`, stands for several values. */
  readonly isOptional?: true;
  /**
   * Maximum number of values for each combination of the other joint labels. Any other value becomes `*`. Only one
   * label of a `JointBound` may set a maximum.
   */
  readonly max?: number;
}

export type Label = ClosedLabel | OpenLabel | JointLabel;

/** Subject of a metric. `pod`: one network namespace. `node`: the whole node. `agent`: netsonde itself. */
export type Scope = 'pod' | 'node' | 'agent';

/** Amount of detail that a probe shows: only the metrics for everyday use (`core`), or all of them (`full`). */
export type Detail = 'core' | 'full';

/** Table and name of a MIB field, and its unit if that differs from the unit of the metric. */
export type MibPlace<T extends MibTable> = readonly [table: T, field: string, unit?: 'milliseconds'];

/** Source of the value: either a MIB field, or text that names a file and field, a netlink attribute or a BPF map. */
type Origin =
  | { readonly mib: MibPlace<Mib4Table>; readonly mib6?: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6?: never; readonly source: string };

/** Complete description of a metric. `/metrics`, docs/metrics.md and the dashboards are generated from it. */
export type MetricDescriptor = Description & Origin;

interface Description {
  /**
   * Full name of the metric, written out so that it can be searched for. It uses base units, and counters end in
   * `_total`.
   */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit?: 'seconds' | 'bytes' | 'ratio';
  /** Explanation for operators, in one sentence. */
  readonly help: string;
  readonly scope: Scope;
  /** Metrics with `core` are shown by default, and those with `full` only if the configuration sets `detail: full`. */
  readonly detail: Detail;
  readonly labels: Readonly<Record<string, Label>>;
  /** Whether the labels contain addresses of other ends, so that rules of `privacy` may hide the metric. */
  readonly showsPeers?: true;
  /** Upper bounds of a histogram, ascending, without +Inf. */
  readonly buckets?: readonly number[];
}

export type MetricSet = Readonly<Record<string, MetricDescriptor>>;

/** Preserves the literal types of the descriptors, so that Emit can check labels and subjects at compile time. */
export function defineMetrics<const M extends MetricSet>(metrics: M): M {
  return metrics;
}

/** Subject of samples that describe the node instead of a namespace. */
export const NODE = 'node';

/** Subject of a sample. Emitting a node metric for a namespace, or vice versa, is a compile-time error. */
export type Subject<D extends MetricDescriptor> = D['scope'] extends 'pod' ? NetnsId : typeof NODE;

export type LabelValues<D extends MetricDescriptor> = {
  readonly [K in keyof D['labels']]: D['labels'][K] extends { readonly values: readonly (infer V extends string)[] }
    ? V
    : string;
};

/**
 * Histogram sample. `counts` contains one count for each bucket and one for larger values. The counts are not
 * cumulative.
 */
export interface HistogramValue {
  readonly counts: readonly Counter[];
  readonly sum: number;
  /**
   * First and last bucket that have series of their own. Values in any other bucket are counted in the next larger
   * bucket that has a series. By default, all buckets have series.
   */
  readonly shown?: BucketRange | undefined;
  /**
   * Exemplars by bucket. Shown on OpenMetrics pages only. A new array means that they have changed.
   */
  readonly exemplars?: readonly (Exemplar | undefined)[] | undefined;
}

/** An observation of a bucket, with the ID of the trace that it belongs to. */
export interface Exemplar {
  /** At most 96 printable ASCII characters without quotes and backslashes. */
  readonly traceId: string;
  readonly value: number;
  /** Seconds since the epoch. */
  readonly time: number;
}

/** Indices of the first and last bucket of a range. */
export interface BucketRange {
  readonly first: number;
  readonly last: number;
}

export type Value<D extends MetricDescriptor> = D['type'] extends 'histogram' ? HistogramValue : Counter;

/** Properties of a sample that its descriptor does not specify. */
export interface EmitOptions {
  /** Whether the sample must never be summed into `*`. */
  readonly keep?: boolean;
  /**
   * Number that identifies the object named by the open label, even after it has been renamed. Without it, an object
   * whose counts are part of `*` would be counted twice when it is renamed.
   */
  readonly identity?: number | undefined;
}

export interface Emit<M extends MetricSet> {
  /** Passes a sample to the collector. It replaces an earlier sample with the same subject and labels. */
  <K extends keyof M & string>(
    metric: K,
    subject: Subject<M[K]>,
    value: Value<M[K]>,
    labels: LabelValues<M[K]>,
    options?: EmitOptions,
  ): void;
  /**
   * Passes a whole column, with one sample for each namespace.
   * @param subjects must not change until the collection ends; columns that use the same array share one look-up
   * @param value returns the value for the index of a namespace; undefined for no sample
   */
  column<K extends keyof M & string>(
    metric: K,
    subjects: readonly NetnsId[],
    labels: LabelValues<M[K]>,
    value: (row: number) => Value<M[K]> | undefined,
  ): void;
  /** Passes the rows of a source to metrics with joint labels. Like samples, the rows are part of the collection. */
  rows<Row>(bound: JointBound, rows: Iterable<Row>, reader: RowReader<M, Row>): void;
  /** Returns whether the metric is shown at the configured detail. Metrics that are not shown need not be read. */
  wants(metric: keyof M & string): boolean;
}

/** Key of a row in its source. */
export type RowKey = string | number | bigint;

/**
 * Reads the rows of a source. Rows with the same labels are summed; for example, 200 addresses of one Service form one
 * edge.
 */
export interface RowReader<M extends MetricSet, Row> {
  subject(row: Row): NetnsId | typeof NODE;
  /** Identifies the row among the rows of its subject. If its values decrease, the row has restarted from zero. */
  key(row: Row): RowKey;
  /**
   * Returns the current joint labels of the row. Earlier counts of the row keep the labels that applied at the time. If
   * the labels have not changed, returning the same object saves a look-up.
   */
  labels(row: Row): Readonly<Record<string, string>>;
  /** Returns the namespace of the peer whose name the joint labels contain; empty if it has none. */
  peerNamespace?(row: Row): string;
  /** Emits the totals of the row, each with its non-joint labels. */
  samples(row: Row, put: PutSample<M>): void;
  /**
   * Returns a number that changes whenever a sample of the row changes. Samples of unchanged rows are not read again.
   */
  version?(row: Row): number;
  /**
   * Whether the source will delete the row once a collection has counted it. A later row with the same key starts from
   * zero.
   */
  isLast?(row: Row): boolean;
  /**
   * Called after a collection has counted the last values of a row. Until then, the source must return the row.
   * Afterwards, it may drop it.
   */
  counted?(row: Row): void;
  /** Maximum number of edges per entity; undefined to use that of the descriptor. */
  readonly max?: number | undefined;
  /** Maximum number of values of the label that sets `JointLabel.max`; undefined to use that of the descriptor. */
  readonly labelMax?: number | undefined;
}

/** Emits one value of a row. A value that is not allowed for a label makes the collection fail. */
export type PutSample<M extends MetricSet> = (
  metric: keyof M & string,
  value: Counter | HistogramValue,
  labels: Readonly<Record<string, string>>,
) => void;

export type LooseRowReader<Row> = RowReader<MetricSet, Row>;

/** Emit function without type checks, for metrics that are selected from a table at run time. */
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
