import type { EventSet } from './event.ts';
import type { MetricSet } from './metric.ts';

/** Labels of a line beside those of its metric. */
type PanelLabel = 'node' | 'namespace' | 'pod';

export type PanelShow = 'rate' | 'sum' | 'max' | 'p99';

/** Lines of one metric: a line for each combination of values of `by`. */
export type PanelLine<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly metric: K;
    /** A counter has its `rate` a second, a gauge its `sum` or `max`, a histogram its 99th percentile, `p99`. */
    readonly show: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'sum' | 'max' : 'p99';
    readonly by: readonly ((keyof M[K]['labels'] & string) | PanelLabel)[];
    /** Text of the legend before the labels. */
    readonly legend?: string;
  };
}[keyof M & string];

/** A graph on a dashboard, in a section of the probe. */
export interface ProbePanel<M extends MetricSet, E extends EventSet> {
  /** The dashboard: what a chosen Pod has, or the node itself. */
  readonly on: 'pod' | 'node';
  readonly title: string;
  readonly lines: readonly PanelLine<M>[];
  /** Sentences for the operator: what to make of the lines. */
  readonly what?: string;
  /** Why there may be nothing to see although the probe runs. */
  readonly empty?: string;
  /** Values from which on a line is a warning, and bad. */
  readonly limits?: readonly [warning: number, bad?: number];
  /** Types of events that say more. */
  readonly events?: readonly (keyof E & string)[];
}
