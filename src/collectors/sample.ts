import { addCounters, type Counter } from '#core/counter.ts';
import type { HistogramValue } from '#probe/metric.ts';

export type SampleLabels = Readonly<Record<string, string>>;

/** Value of a sample. All rows of a metric have the same type. */
export type SampleValue = Counter | HistogramValue;

/** Returns the sum of two values. */
export function addSamples(a: SampleValue, b: SampleValue): SampleValue {
  if (typeof a !== 'object') return addCounters(a, b as Counter);
  const other = b as HistogramValue;
  return {
    ...other,
    counts: a.counts.map((count, index) => addCounters(count, other.counts[index] ?? 0)),
    sum: a.sum + other.sum,
  };
}

/** Whether a counter or histogram has decreased, which means that it was reset. */
export function isReset(now: SampleValue, before: SampleValue): boolean {
  return countOf(now) < countOf(before);
}

/** Returns zero, or an empty histogram. */
export function zeroOf(value: SampleValue): SampleValue {
  if (typeof value !== 'object') return 0;
  return { counts: value.counts.map(() => 0), sum: 0, shown: value.shown };
}

function countOf(value: SampleValue): Counter {
  return typeof value === 'object' ? value.counts.reduce(addCounters, 0) : value;
}
