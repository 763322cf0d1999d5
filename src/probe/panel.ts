import type { EventSet } from './event.ts';
import type { MetricSet } from './metric.ts';

/** Labels that every line may have in addition to those of its metric. */
type PanelLabel = 'node' | 'namespace' | 'pod';

export type PanelShow = 'rate' | 'sum' | 'max' | 'p99';

/** Lines of one metric, one for each combination of values of `by`. */
export type PanelLine<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly metric: K;
    /** Per-second `rate` of a counter, `sum` or `max` of a gauge, or 99th percentile (`p99`) of a histogram. */
    readonly show: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'sum' | 'max' : 'p99';
    readonly by: readonly ((keyof M[K]['labels'] & string) | PanelLabel)[];
    /** Text that precedes the labels in the legend. */
    readonly legend?: string;
  };
}[keyof M & string];

/** A graph in the probe's section of a dashboard. */
export interface ProbePanel<M extends MetricSet, E extends EventSet> {
  /** Dashboard that contains the graph: the one for a chosen Pod, or the one for the node. */
  readonly on: 'pod' | 'node';
  readonly title: string;
  readonly lines: readonly PanelLine<M>[];
  /** Explanation of the lines for operators. */
  readonly what?: string;
  /** Reason why the graph may be empty although the probe runs. */
  readonly empty?: string;
  /** Thresholds from which a line is shown as a warning or as critical. */
  readonly limits?: readonly [warning: number, bad?: number];
  /** Event types with more details about the same problem. */
  readonly events?: readonly (keyof E & string)[];
}
