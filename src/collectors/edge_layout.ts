import type { BucketRange, HistogramValue, JointBound, MetricDescriptor, MetricSet } from '#probe/metric.ts';
import { isJoint, isOpen } from '#probe/metric.ts';
import type { Cells } from './cells.ts';
import { renderLabels } from './labels.ts';
import { OVERFLOW } from './open_label.ts';
import type { SampleLabels, SampleValue } from './sample.ts';
import { encode } from './text_writer.ts';

/**
 * Kinds of cells. Gauges are not accumulated over collections. A decrease of a counter means that it was reset. The sum
 * of a histogram is not checked for resets.
 */
export const CELL = { gauge: 0, counter: 1, sum: 2 } as const;

/** One series of an edge: a metric with one combination of values of the labels that are not joint. */
export interface Column {
  readonly metric: MetricColumns;
  /** Index of the column's first cell within a block. */
  readonly at: number;
  /** Number that identifies the column's shape. Columns with the same shape have the same labels. */
  readonly shape: number;
  readonly own: SampleLabels;
}

export interface MetricColumns {
  readonly key: string;
  readonly descriptor: MetricDescriptor;
  readonly columns: readonly Column[];
  /** Labels that are not joint, with their listed values. */
  readonly own: readonly { readonly name: string; readonly values: readonly string[] }[];
  readonly cells: number;
  /** Range of histogram buckets that the last sample showed. */
  shown: BucketRange | undefined;
}

/** Layout of the series of an edge within a block, for the metrics that share a joint bound. */
export class EdgeLayout {
  /** Names of the joint labels, sorted. */
  readonly names: readonly string[];
  /** The joint label that has its own limit, with its index in `names`; undefined if there is none. */
  readonly nested: { readonly index: number; readonly max: number } | undefined;
  readonly metrics: ReadonlyMap<string, MetricColumns>;
  readonly kinds: Uint8Array;
  /** Cells whose growth determines the rank of an edge. */
  readonly rank: readonly number[];
  /** Cells of gauges. */
  readonly gauges: readonly number[];
  readonly #shapes = new Map<string, number>();

  /** @throws if the descriptors are inconsistent */
  constructor(metrics: MetricSet, bound: JointBound) {
    const sharing = Object.entries(metrics).filter(([, { labels }]) =>
      Object.values(labels).some((label) => isJoint(label) && label.joint === bound),
    );
    const [first] = sharing;
    if (first === undefined) throw new Error('no metric has a label of this bound');
    this.names = jointNames(first[1], bound);
    this.nested = nestedOf(first[1], this.names);
    const kinds: number[] = [];
    this.metrics = new Map(sharing.map(([key, descriptor]) => [key, this.#place(key, descriptor, bound, kinds)]));
    this.kinds = Uint8Array.from(kinds);
    this.gauges = kinds.flatMap((kind, cell) => (kind === CELL.gauge ? [cell] : []));
    this.rank = bound.rank.flatMap((key) => this.#rankCells(key));
    if (this.rank.length === 0) throw new Error('a joint bound needs a metric to rank edges by');
  }

  get width(): number {
    return this.kinds.length;
  }

  /** Writes a sample into a block. @throws if a label value is not listed */
  write(cells: Cells, block: number, metric: MetricColumns, value: SampleValue, labels: SampleLabels): void {
    const at = block + columnOf(metric, labels).at;
    if (typeof value !== 'object') {
      cells.set(at, value);
      return;
    }
    metric.shown = value.shown;
    const last = metric.cells - 1;
    for (let bucket = 0; bucket < last; bucket++) cells.set(at + bucket, value.counts[bucket] ?? 0);
    cells.set(at + last, value.sum);
  }

  /** Returns the value of a column; undefined if it is empty. */
  read(cells: Cells, block: number, { metric, at }: Column): SampleValue | undefined {
    const first = cells.get(block + at);
    if (first === undefined || metric.descriptor.type !== 'histogram') return first;
    const last = metric.cells - 1;
    const counts = Array.from({ length: last }, (_, bucket) => cells.get(block + at + bucket) ?? 0);
    return { counts, sum: Number(cells.get(block + at + last) ?? 0), shown: metric.shown } satisfies HistogramValue;
  }

  /**
   * Renders the labels of a column in the order of the metric's descriptor.
   * @param values values of the joint labels
   */
  render({ metric, own }: Column, values: readonly string[]): Uint8Array {
    const all = Object.entries(metric.descriptor.labels).flatMap(([name, label]) => {
      const joint = this.names.indexOf(name);
      const value = (joint < 0 ? own[name] : values[joint]) ?? '';
      const isAbsent = isJoint(label) && label.isOptional === true && (value === '' || value.startsWith(OVERFLOW));
      return isAbsent ? [] : [[name, value] as const];
    });
    return encode(renderLabels(Object.fromEntries(all)));
  }

  #place(key: string, descriptor: MetricDescriptor, bound: JointBound, kinds: number[]): MetricColumns {
    const { name, type, labels, buckets = [] } = descriptor;
    const names = jointNames(descriptor, bound);
    if (names.join() !== this.names.join()) {
      throw new Error(
        `${name} has the joint labels ${names.join()}, but other metrics of its bound have ${this.names.join()}`,
      );
    }
    const own = Object.entries(labels).flatMap(([label, is]) => {
      if (isJoint(is)) return [];
      if (isOpen(is)) throw new Error(`${name}: the label ${label} is open beside joint labels; add it to their bound`);
      return [{ name: label, values: is.values as readonly string[] }];
    });
    const cells = type === 'histogram' ? buckets.length + 2 : 1;
    const columns: Column[] = [];
    const metric: MetricColumns = { key, descriptor, columns, own, cells, shown: undefined };
    for (const values of combinations(own)) {
      const shape = this.#shapeOf(`${Object.keys(labels).join()} ${JSON.stringify(values)}`);
      columns.push({ metric, at: kinds.length, shape, own: values });
      if (type !== 'histogram') kinds.push(CELL[type]);
      else kinds.push(...new Array<number>(cells - 1).fill(CELL.counter), CELL.sum);
    }
    return metric;
  }

  #shapeOf(key: string): number {
    const shape = this.#shapes.get(key) ?? this.#shapes.size;
    this.#shapes.set(key, shape);
    return shape;
  }

  #rankCells(key: string): number[] {
    const metric = this.metrics.get(key);
    if (metric === undefined) throw new Error(`the bound has no metric ${key} to rank edges by`);
    const { descriptor, columns, cells } = metric;
    if (descriptor.type === 'gauge' || descriptor.detail !== 'core') {
      throw new Error(
        `${descriptor.name} cannot rank edges, because it is not a counter or histogram with detail core`,
      );
    }
    const counting = descriptor.type === 'histogram' ? cells - 1 : 1;
    return columns.flatMap(({ at }) => Array.from({ length: counting }, (_, cell) => at + cell));
  }
}

function jointNames({ name, labels }: MetricDescriptor, bound: JointBound): string[] {
  const joint = Object.entries(labels).filter(([, label]) => isJoint(label));
  if (joint.some(([, label]) => isJoint(label) && label.joint !== bound))
    throw new Error(`${name} has two joint bounds`);
  return joint.map(([label]) => label).sort();
}

function nestedOf({ name, labels }: MetricDescriptor, names: readonly string[]): EdgeLayout['nested'] {
  const nested = names.flatMap((label, index) => {
    const is = labels[label];
    return is !== undefined && isJoint(is) && is.max !== undefined ? [{ index, max: is.max }] : [];
  });
  if (nested.length > 1) throw new Error(`${name}: only one joint label may have its own limit`);
  return nested[0];
}

function columnOf({ columns, own, descriptor }: MetricColumns, labels: SampleLabels): Column {
  let index = 0;
  for (const { name, values } of own) {
    const value = values.indexOf(labels[name] ?? '');
    if (value < 0) throw new Error(`${descriptor.name} has no ${name} ${labels[name]}`);
    index = index * values.length + value;
  }
  return columns[index] as Column;
}

function combinations(own: MetricColumns['own']): SampleLabels[] {
  return own.reduce<SampleLabels[]>(
    (found, { name, values }) => found.flatMap((labels) => values.map((value) => ({ ...labels, [name]: value }))),
    [{}],
  );
}
