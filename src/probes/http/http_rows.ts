import { histogram, httpRow } from '#bpf/generated/common.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { HistogramValue } from '#probe/metric.ts';

// Rows of requests and of gRPC calls are the same struct http_row.

const NANOSECONDS = 1e-9;

/** Index of the kernel's bucket with the lowest bound that is shown, and number of shown bounds. */
const FIRST = 8;
const BOUNDS = 9;
/** Upper bounds in seconds: every second bound of the kernel's buckets, from 256 µs to 16.8 s. */
export const BUCKETS: readonly number[] = Array.from({ length: BOUNDS }, (_, index) => 2 ** (FIRST + 2 * index) / 1e6);

export const CAUSES = ['reordered', 'late', 'busy', 'limit', 'unreadable', 'orphan'] as const;

const WORD = 8;
const SUM = (httpRow.offsets.durations + histogram.offsets.sum) / WORD;
const COUNTS = (httpRow.offsets.durations + histogram.offsets.counts) / WORD;

export interface Durations {
  /** Counts of the kernel's buckets. */
  readonly buckets: readonly Counter[];
  readonly sumNs: Counter;
}

/** Returns the durations of a row. */
export function durationsOf(words: readonly Counter[]): Durations {
  return { buckets: words.slice(COUNTS, COUNTS + histogram.countsCount), sumNs: words[SUM] ?? 0 };
}

function sum(counts: readonly Counter[]): Counter {
  return counts.reduce(addCounters, 0);
}

/** Groups rows by their subject and by labels, and calls `show` for each group. */
export function forEachGroup<Row extends { readonly subject: NetnsId }, L extends Readonly<Record<string, string>>>(
  all: readonly Row[],
  labelsOf: (row: Row) => L | undefined,
  show: (subject: NetnsId, labels: L, group: readonly Row[]) => void,
): void {
  const labelled = all.flatMap((row) => {
    const labels = labelsOf(row);
    return labels === undefined ? [] : [{ row, labels }];
  });
  const keyOf = ({ row, labels }: (typeof labelled)[number]) => [row.subject, ...Object.values(labels)].join(' ');
  for (const group of Map.groupBy(labelled, keyOf).values()) {
    const [first] = group;
    if (first !== undefined)
      show(
        first.row.subject,
        first.labels,
        group.map(({ row }) => row),
      );
  }
}

/** Returns the index of the shown bucket that contains the durations of a bucket of the kernel. */
export function shownBucketOf(kernelBucket: number): number {
  return Math.min(BOUNDS, Math.max(0, Math.ceil((kernelBucket - FIRST) / 2)));
}

/** Sums the kernel's buckets up to each bound that is shown. */
function shownBuckets(group: readonly Durations[]): Counter[] {
  const counts = new Array<Counter>(BOUNDS + 1).fill(0);
  for (const { buckets } of group) {
    for (const [index, count] of buckets.entries()) {
      const shown = shownBucketOf(index);
      counts[shown] = addCounters(counts[shown] ?? 0, count);
    }
  }
  return counts;
}

/** Returns the sum of the durations of rows. */
export function durationOf(group: readonly Durations[]): HistogramValue {
  return { counts: shownBuckets(group), sum: Number(sum(group.map(({ sumNs }) => sumNs))) * NANOSECONDS };
}

export function countOf(group: readonly { readonly count: Counter }[]): Counter {
  return sum(group.map(({ count }) => count));
}
