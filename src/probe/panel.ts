import type { EventSet } from './event.ts';
import type { MetricSet } from './metric.ts';

/** Labels that every line may use in addition to those of its metric. */
type PanelLabel = 'node' | 'namespace' | 'pod';

export type PanelShow = 'rate' | 'sum' | 'max' | 'p99';

/** Lines for one metric: one for each combination of values of the labels in `by`. */
export type PanelLine<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly metric: K;
    /** Quantity to show. `rate` is per second, and `p99` is the 99th percentile. */
    readonly show: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'sum' | 'max' : 'p99';
    readonly by: readonly ((keyof M[K]['labels'] & string) | PanelLabel)[];
    /** Text that precedes the labels in the legend. */
    readonly legend?: string;
  };
}[keyof M & string];

/** A graph in the probe's section of a dashboard. */
export interface ProbePanel<M extends MetricSet, E extends EventSet> {
  /** Dashboard that contains the graph: the one for a single Pod, or the one for the node. */
  readonly on: 'pod' | 'node';
  readonly title: string;
  readonly lines: readonly PanelLine<M>[];
  /** Explanation of the lines, for operators. */
  readonly what?: string;
  /** Reason why the graph may be empty even though the probe runs. */
  readonly empty?: string;
  /** Values from which a line is highlighted as a warning or as critical. */
  readonly limits?: readonly [warning: number, bad?: number];
  /** Types of events that provide more details about the same problem. */
  readonly events?: readonly (keyof E & string)[];
}
