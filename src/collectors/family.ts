import type { EmitOptions, HistogramValue, MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

/** Calls back with the slot of the entity, the metric's own rendered labels (`device="eth0"`, or nothing), and the value. */
export type VisitSample = (slot: number, labels: Uint8Array | undefined, value: SampleValue) => void;

/** Puts a sample of a column. */
export type PutColumn = (slot: number, value: SampleValue) => void;

/**
 * Samples of one metric, from the last cycle. Samples of a probe are shown once it commits; a probe that fails half-way shows nothing.
 */
export interface Family {
  readonly descriptor: MetricDescriptor;
  /** Kind of labels that `fold` folds. */
  readonly kind: Foldable | 'plain';
  /** Number of its series on the page. */
  readonly series: number;
  /** Whether the last collection was committed: then a row that `visit` does not give does not exist. */
  readonly isShown: boolean;
  begin(): void;
  put(slot: number, value: SampleValue, labels: SampleLabels, options?: EmitOptions): void;
  /** Returns the function that puts the samples of this collection with these labels, one for each entity. */
  column(labels: SampleLabels): PutColumn;
  commit(nowMs: number): void;
  /** Shows nothing until the next commit. */
  clear(): void;
  /** Does the same for a probe that is switched off: its values are not last values of any entity, but a row that is put again continues. */
  stop(): void;
  /** Called when the entity of the slot is dead: its last values are shown from then on, except where new ones are put. */
  retire(slot: number): void;
  /** Called when the entity of the slot is gone. */
  forget(slot: number): void;
  /** Called when the entity of the slot has other labels. */
  renamed(slot: number, nowMs: number): void;
  /**
   * Halves the bounds of its labels this many times, from now on; 0 is as declared.
   * @returns number of series of the page that this put under `*`
   */
  fold(level: number): number;
  /** @param view set where a scraper looks */
  visit(visit: VisitSample, view?: ScraperView): void;
}

export type Foldable = 'edges' | 'labels';

/** Number of series of a histogram besides its buckets: +Inf, sum and count. */
const OF_HISTOGRAM = 3;

export function seriesPerRow({ buckets }: MetricDescriptor, shown?: HistogramValue['shown']): number {
  if (buckets === undefined) return 1;
  return (shown === undefined ? buckets.length : shown.last - shown.first + 1) + OF_HISTOGRAM;
}
