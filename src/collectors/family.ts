import type { EmitOptions, HistogramValue, MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

/** Calls back with the slot of the entity, the metric's own labels rendered (`device="eth0"`, or nothing), and the value. */
export type VisitSample = (slot: number, labels: Uint8Array | undefined, value: SampleValue) => void;

/** Puts a sample of a column. */
export type PutColumn = (slot: number, value: SampleValue) => void;

/**
 * The samples of one metric, of the last cycle. What a probe puts is shown once it commits; a probe that fails
 * half-way shows nothing.
 */
export interface Family {
  readonly descriptor: MetricDescriptor;
  /** What `fold` folds. */
  readonly kind: Foldable | 'plain';
  /** How many series it has on the page. */
  readonly series: number;
  /** The last collection was committed: what `visit` does not give is not there. */
  readonly isShown: boolean;
  begin(): void;
  put(slot: number, value: SampleValue, labels: SampleLabels, options?: EmitOptions): void;
  /** What puts the samples of this collection that have these labels, one for each entity. */
  column(labels: SampleLabels): PutColumn;
  commit(nowMs: number): void;
  /** Shows nothing until the next commit. */
  clear(): void;
  /** The same, for a probe that is switched off: what it showed is no last value of anybody, but a row that is put again goes on. */
  stop(): void;
  /** The entity of the slot is dead: what it showed last is shown again and again, but for what is still put. */
  retire(slot: number): void;
  /** The entity of the slot is gone. */
  forget(slot: number): void;
  /** The entity of the slot has other labels. */
  renamed(slot: number, nowMs: number): void;
  /**
   * Halves the bounds of its labels so many times, now and from now on; 0 is as declared.
   * @returns series of the page that are under `*` by that
   */
  fold(level: number): number;
  /** @param view where it is a scraper that looks */
  visit(visit: VisitSample, view?: ScraperView): void;
}

export type Foldable = 'edges' | 'labels';

/** Beside those of its buckets a histogram has +Inf, sum and count. */
const OF_HISTOGRAM = 3;

export function seriesPerRow({ buckets }: MetricDescriptor, shown?: HistogramValue['shown']): number {
  if (buckets === undefined) return 1;
  return (shown === undefined ? buckets.length : shown.last - shown.first + 1) + OF_HISTOGRAM;
}
