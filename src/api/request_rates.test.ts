import { describe, expect, it } from 'vitest';
import {
  addRequestCounts,
  durationQuantile,
  failedRequests,
  NO_REQUESTS,
  type RequestCounts,
  requestGrowth,
} from './request_rates.ts';

function counts(more: Partial<RequestCounts> = {}): RequestCounts {
  return { ...NO_REQUESTS, requests: 10, failed: 1, seconds: 0.5, durations: [0, 4, 5, 0, 0, 0, 0, 0, 0], ...more };
}

describe('growth', () => {
  it('is the difference, bucket by bucket', () => {
    const later = counts({ requests: 14, failed: 2, seconds: 0.75, durations: [1, 4, 7, 0, 0, 0, 0, 0, 0] });
    expect(requestGrowth(later, counts())).toEqual({
      ...NO_REQUESTS,
      requests: 4,
      failed: 1,
      seconds: 0.25,
      durations: [1, 0, 2, 0, 0, 0, 0, 0, 0],
    });
  });

  it('is the total without earlier totals, and after a restart', () => {
    expect(requestGrowth(counts(), null)).toEqual(counts());
    expect(requestGrowth(counts(), counts({ requests: 20 }))).toEqual(counts());
  });

  it('is nothing without requests', () => {
    expect([requestGrowth(null, counts()), requestGrowth(counts(), counts())]).toEqual([NO_REQUESTS, NO_REQUESTS]);
  });
});

it('adds up', () => {
  expect(addRequestCounts(counts(), NO_REQUESTS)).toEqual(counts());
  expect(addRequestCounts(counts(), counts())).toMatchObject({
    requests: 20,
    seconds: 1,
    durations: [0, 8, 10, 0, 0, 0, 0, 0, 0],
  });
});

it('has a share of failures, which is unknown without requests', () => {
  expect([failedRequests(counts()), failedRequests(NO_REQUESTS)]).toEqual([0.1, null]);
});

it('has a quantile that is no longer than the sum of the durations allows', () => {
  const durations = [0, 99, 0, 0, 0, 0, 0, 1, 0];
  const seconds = 99 * 0.0005 + 1.3;
  const longest = durationQuantile(counts({ durations, seconds }), 0.995) ?? Number.NaN;
  expect(longest).toBeGreaterThan(1.3);
  expect(longest).toBeLessThan(1.33);
});

describe('a quantile', () => {
  it.each([
    ['of nothing', NO_REQUESTS.durations, 0.5, null],
    ['in the first bucket', [4, 0, 0, 0, 0, 0, 0, 0, 0], 0.5, 128e-6],
    ['at the end of a bucket', [2, 2, 0, 0, 0, 0, 0, 0, 0], 0.5, 256e-6],
    ['within a bucket', [2, 2, 0, 0, 0, 0, 0, 0, 0], 0.75, 640e-6],
    ['beyond the last bound', [0, 0, 0, 0, 0, 0, 0, 0, 3], 0.99, 4.194304],
  ] as const)('%s', (_, durations, quantile, expected) => {
    const found = durationQuantile(counts({ durations, seconds: 100 }), quantile);
    if (expected === null) expect(found).toBeNull();
    else expect(found).toBeCloseTo(expected, 9);
  });
});
