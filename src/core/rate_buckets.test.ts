import { expect, it } from 'vitest';
import { RateBuckets } from './rate_buckets.ts';

it('lets each owner have its rate, and a burst of what it saved in two seconds', () => {
  let now = 0;
  const buckets = new RateBuckets(10, () => now);
  const admitted = (owner: string, tries: number) =>
    Array.from({ length: tries }, () => buckets.admit(owner)).filter(Boolean).length;
  expect([admitted('a', 50), admitted('b', 5)]).toEqual([20, 5]);
  now = 500;
  expect([admitted('a', 50), admitted('b', 50)]).toEqual([5, 20]);
  now = 60_000;
  expect(admitted('a', 50)).toBe(20);
});

it('a rate below one per second admits one now and then', () => {
  let now = 0;
  const buckets = new RateBuckets(0.1, () => now);
  const at = (ms: number) => {
    now = ms;
    return buckets.admit('a');
  };
  expect([at(0), at(5_000), at(10_001), at(19_000), at(20_100)]).toEqual([true, false, true, false, true]);
});

it('has as many buckets after thousands of owners as after the first hundred', () => {
  let now = 0;
  const buckets = new RateBuckets(100, () => now);
  const sizes = [100, 300, 3_000].map((owners) => {
    for (let owner = 0; owner < owners; owner++) {
      now += 1_000;
      buckets.admit(`${owners} ${owner}`);
    }
    return buckets.size;
  });
  expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
});

it('keeps 4,096 buckets, and forgets those that are full again', () => {
  let now = 0;
  const buckets = new RateBuckets(0.5, () => now);
  for (let owner = 0; owner < 4_096; owner++) expect(buckets.admit(`o${owner}`)).toBe(true);
  expect([buckets.admit('x'), buckets.admit('y')]).toEqual([true, false]);
  // No bucket is full yet, so no bucket can be replaced.
  now = 1_900;
  expect(buckets.admit('z')).toBe(false);
  now = 2_001;
  expect([buckets.admit('x'), buckets.admit('y')]).toEqual([true, true]);
});
