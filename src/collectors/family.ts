import type { EmitOptions, HistogramValue, MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

/**
 * Receives a sample: the slot of its entity, the metric's rendered labels such as `device="eth0"` (undefined if it has
 * none), and the value.
 */
export type VisitSample = (slot: number, labels: Uint8Array | undefined, value: SampleValue) => void;

/** Adds a sample to a column. */
export type PutColumn = (slot: number, value: SampleValue) => void;

/**
 * Samples of one metric from the last collection. They become visible when the collection is committed, so a probe that
 * fails shows nothing.
 */
export interface Family {
  readonly descriptor: MetricDescriptor;
  /** Kind of the labels whose limits `fold` halves; `plain` if the metric has no limited labels. */
  readonly kind: Foldable | 'plain';
  /** Number of series on the page. */
  readonly series: number;
  /** Whether the last collection was committed. If it was, only the rows that `visit` reports exist. */
  readonly isShown: boolean;
  begin(): void;
  put(slot: number, value: SampleValue, labels: SampleLabels, options?: EmitOptions): void;
  /** Returns a function that adds samples with the given labels. It accepts at most one sample per entity. */
  column(labels: SampleLabels): PutColumn;
  commit(nowMs: number): void;
  /** Hides everything until the next commit. */
  clear(): void;
  /**
   * Like `clear`, but for a probe that is disabled. If an entity ends afterwards, its values are not kept as last
   * values. If the probe is enabled again, existing rows do not count as new.
   */
  stop(): void;
  /** Called when the entity of a slot has ended. Its last values stay visible unless new values are added. */
  retire(slot: number): void;
  /** Called when a slot no longer has an entity. */
  forget(slot: number): void;
  /** Called when the labels of the entity in a slot have changed. */
  renamed(slot: number, nowMs: number): void;
  /**
   * Halves the limits of the labels `level` times. Level 0 restores the declared limits.
   * @returns number of series on the page that were folded into `*`
   */
  fold(level: number): number;
  /**
   * Visits all samples on the page.
   * @param view set if the page is for a scraper
   */
  visit(visit: VisitSample, view?: ScraperView): void;
}

export type Foldable = 'edges' | 'labels';

/** Number of series of a histogram in addition to its finite buckets: +Inf, sum and count. */
const OF_HISTOGRAM = 3;

export function seriesPerRow({ buckets }: MetricDescriptor, shown?: HistogramValue['shown']): number {
  if (buckets === undefined) return 1;
  return (shown === undefined ? buckets.length : shown.last - shown.first + 1) + OF_HISTOGRAM;
}
