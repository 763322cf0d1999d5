import type { Exposition } from './exposition.ts';

/** A histogram from a page. Bucket counts are not cumulative. `bound` is the upper boundary in seconds. */
export interface PageHistogram {
  readonly buckets: readonly { readonly bound: number; readonly count: number }[];
  readonly count: number;
  readonly sum: number;
}

/** Returns the histogram with this name and all of these labels; empty if there is none. */
export function histogramOf(page: Exposition, name: string, labels: Readonly<Record<string, string>>): PageHistogram {
  const samples = page.samples.filter(
    (sample) =>
      sample.name.startsWith(`${name}_`) &&
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  const one = (suffix: string) => {
    const found = samples.filter((sample) => sample.name === `${name}_${suffix}`);
    if (found.length > 1) throw new Error(`${found.length} samples of ${name}_${suffix}`);
    return Number(found[0]?.value ?? 0);
  };
  const cumulative = samples
    .filter((sample) => sample.name === `${name}_bucket`)
    .map(({ labels, value }) => ({ bound: Number(labels['le']?.replace('+Inf', 'Infinity')), count: Number(value) }));
  const buckets = cumulative.map(({ bound, count }, index) => ({
    bound,
    count: count - (cumulative[index - 1]?.count ?? 0),
  }));
  if (cumulative.length > 0 && cumulative.at(-1)?.count !== one('count'))
    throw new Error(`${name}: +Inf is not the count`);
  return { buckets, count: one('count'), sum: one('sum') };
}

/** Returns the increase between two readings. */
export function grown(before: PageHistogram, after: PageHistogram): PageHistogram {
  const buckets = after.buckets.map(({ bound, count }) => ({
    bound,
    count: count - (before.buckets.find((bucket) => bucket.bound === bound)?.count ?? 0),
  }));
  return { buckets, count: after.count - before.count, sum: after.sum - before.sum };
}

/** Returns the upper boundaries of the buckets that are not empty. */
export function filled({ buckets }: PageHistogram): number[] {
  return buckets.filter(({ count }) => count > 0).map(({ bound }) => bound);
}

/** Returns the upper boundary of the bucket for this time. Boundaries are powers of two, in microseconds. */
export function bucketOf(seconds: number): number {
  return 2 ** Math.ceil(Math.log2(seconds * 1e6)) / 1e6;
}

/** Returns n, where 2^n microseconds is the upper boundary of the bucket that contains the median. */
export function medianBucket({ buckets, count }: PageHistogram): number {
  let below = 0;
  for (const bucket of buckets) {
    below += bucket.count;
    if (below >= count / 2) return Math.log2(bucket.bound * 1e6);
  }
  return Number.NaN;
}

/**
 * Parses the output of a program of libbpf-tools, which consists of rows such as `2 -> 3 : 18 |***|`, and sums up all of
 * its histograms. The range of a row, in microseconds, ends just below a power of two. That power of two becomes the
 * upper bound of the bucket.
 */
export function toolHistogram(text: string): PageHistogram {
  const counts = new Map<number, number>();
  for (const [, from, count] of text.matchAll(/^\s*(\d+) -> \d+\s*: (\d+)/gm)) {
    const bound = Number(from) === 0 ? 2e-6 : (2 * Number(from)) / 1e6;
    counts.set(bound, (counts.get(bound) ?? 0) + Number(count));
  }
  const buckets = [...counts].map(([bound, count]) => ({ bound, count })).sort((a, b) => a.bound - b.bound);
  return { buckets, count: buckets.reduce((sum, { count }) => sum + count, 0), sum: Number.NaN };
}
