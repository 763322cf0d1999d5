import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Mib4Table, Mib6Table, MibTable } from '#sources/mib/tables.ts';

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
  /** What a value names may have counted elsewhere before it came here, as a device that is moved: a new row does not count from zero. */
  readonly moves?: true;
}

/**
 * Bounds several labels of a probe's metrics together. An edge is one combination of their values. All metrics whose labels
 * refer to the same bound show the same edges of an entity: those that grow most by `rank`. The others are added up in
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

/** Which metrics of a probe are shown: those that people look at every day, or all. */
export type Detail = 'core' | 'full';

/** A field of the kernel's MIBs, under its name in the table; the unit where the metric has another. */
export type MibPlace<T extends MibTable> = readonly [table: T, field: string, unit?: 'milliseconds'];

/** Where the number is born: in a field of the MIBs, or a file and field, a netlink attribute, a BPF map, in words. */
type Origin =
  | { readonly mib: MibPlace<Mib4Table>; readonly mib6?: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6: MibPlace<Mib6Table>; readonly source?: never }
  | { readonly mib?: never; readonly mib6?: never; readonly source: string };

/** Everything about a metric, once: `/metrics`, docs/metrics.md and the dashboards are made from it. */
export type MetricDescriptor = Description & Origin;

interface Description {
  /** The full name, literally, so that grep finds it. Base units; counters end in `_total`. */
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
  /** The number of what the open label names, where that may be renamed: under `*` it goes on, and is not counted again. */
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
   * Hands over a column: of each namespace the sample that `emit` would hand over.
   * @param subjects not changed until the end of the collection: equal columns of namespaces share one look-up
   * @param value by the index of the namespace; undefined: it has no such sample
   */
  column<K extends keyof M & string>(
    metric: K,
    subjects: readonly NetnsId[],
    labels: LabelValues<M[K]>,
    value: (row: number) => Value<M[K]> | undefined,
  ): void;
  /** Hands the rows of a source to metrics whose labels are bounded together. Takes part in the collection as samples do. */
  rows<Row>(bound: JointBound, rows: Iterable<Row>, reader: RowReader<M, Row>): void;
  /** Whether the metric is shown, at the detail that is asked for: what is not need not be read. */
  wants(metric: keyof M & string): boolean;
}

/** Names a row at its source. */
export type RowKey = string | number | bigint;

/** Reads the rows of a source. Rows whose labels are equal are added up: 200 addresses of one Service are one edge. */
export interface RowReader<M extends MetricSet, Row> {
  subject(row: Row): NetnsId | typeof NODE;
  /** Names the row among those of its subject, for good: a value below the last one means that it began anew. */
  key(row: Row): RowKey;
  /**
   * The joint labels, as they are known now. What the row counted before stays with the labels that it had then.
   * One object for equal labels saves a look-up.
   */
  labels(row: Row): Readonly<Record<string, string>>;
  /** Puts the totals of the row, each with the labels that are not joint. */
  samples(row: Row, put: PutSample<M>): void;
  /** The source deletes the row after this: under the same key it comes again from zero. */
  isLast?(row: Row): boolean;
  /** Edges that one entity shows, where the configuration asks for other than the descriptor. */
  readonly max?: number | undefined;
  /** The same for the label that has a bound of its own. */
  readonly labelMax?: number | undefined;
}

/** The collection fails where the metric has no such value of a label. */
export type PutSample<M extends MetricSet> = (
  metric: keyof M & string,
  value: Counter | HistogramValue,
  labels: Readonly<Record<string, string>>,
) => void;

export type LooseRowReader<Row> = RowReader<MetricSet, Row>;

/** Emit for metrics that are chosen by a table at run time, where types cannot follow. */
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
