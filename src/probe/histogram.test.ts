import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  addHistograms,
  bucketsOption,
  EMPTY,
  type Histogram,
  histogramValue,
  LATENCY,
  shownBuckets,
} from './histogram.ts';

const BOUNDS = LATENCY.buckets;

it('has a bound at each power of two of a microsecond', () => {
  expect(BOUNDS.slice(0, 4)).toEqual([0.000001, 0.000002, 0.000004, 0.000008]);
  expect(BOUNDS.at(-1)).toBe(16.777216);
  expect(EMPTY.counts).toHaveLength(BOUNDS.length + 1);
});

it('shows the buckets that contain the ends of a range', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3e10 }), fc.integer({ min: 1, max: 3e10 }), (a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const { first, last } = shownBuckets({ from, to });
      expect(first).toBeLessThanOrEqual(last);
      const [lowest = 0, highest = 0] = [BOUNDS[first], BOUNDS[last]];
      expect(first === BOUNDS.length - 1 || lowest >= from / 1e9).toBe(true);
      expect(first === 0 || lowest < (2 * from) / 1e9).toBe(true);
      expect(last === BOUNDS.length - 1 || highest >= to / 1e9).toBe(true);
      expect(last === 0 || highest < (2 * to) / 1e9 || highest === BOUNDS[0]).toBe(true);
    }),
  );
  expect(shownBuckets({ from: 1_000, to: 4_000 })).toEqual({ first: 0, last: 2 });
});

it('is configured by two durations, the first shorter than the second', () => {
  const schema = bucketsOption('1us', '10s');
  expect(schema.parse(undefined)).toEqual({ from: 1_000, to: 10_000_000_000 });
  expect(schema.parse({ from: '1ms' })).toEqual({ from: 1_000_000, to: 10_000_000_000 });
  for (const wrong of [{ from: '1s', to: '1s' }, { from: '1' }, { until: '1s' }]) {
    expect(schema.safeParse(wrong).success).toBe(false);
  }
});

it('adds up exactly, also beyond the precision of a double', () => {
  const u64 = fc.bigInt({ min: 1n, max: 2n ** 62n });
  const histogram = fc
    .record({ counts: fc.array(u64, { minLength: 26, maxLength: 26 }), sumNs: u64 })
    .map(({ counts, sumNs }): Histogram => ({ counts, sumNs }));
  fc.assert(
    fc.property(histogram, histogram, (a, b) => {
      const sum = addHistograms(a, b);
      for (const [index, count] of sum.counts.entries()) {
        expect(BigInt(count)).toBe(BigInt(a.counts[index] ?? 0) + BigInt(b.counts[index] ?? 0));
      }
      expect(BigInt(sum.sumNs)).toBe(BigInt(a.sumNs) + BigInt(b.sumNs));
      expect(addHistograms(a, EMPTY)).toEqual(a);
      expect(addHistograms(EMPTY, a).counts.map(BigInt)).toEqual(a.counts.map(BigInt));
    }),
  );
});

it('is in seconds as a sample', () => {
  expect(histogramValue({ ...EMPTY, sumNs: 1_500_000_000 }, { first: 0, last: 24 }).sum).toBeCloseTo(1.5, 9);
});
