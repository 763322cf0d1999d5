import { roundTripOf } from '#api/flow_rates.ts';
import { durationQuantile, failedRequests } from '#api/request_rates.ts';
import { bytesRate, percent, rate, seconds } from '../format.ts';
import type { SparkPoint } from '../line.ts';
import { HISTORY_MS, type Point } from './history.ts';
import { failedShare, lostShare, type Measure } from './verdict.ts';

interface MeasureText {
  readonly title: string;
  readonly format: (value: number) => string;
  readonly read: (point: Point) => number | null;
}

/** Quantities that sparklines and charts show. */
export const MEASURES: Readonly<Record<Measure, MeasureText>> = {
  bytes: {
    title: 'Bytes per second in both directions',
    format: bytesRate,
    read: ({ counts, seconds }) => (counts === undefined ? null : counts.bytes / seconds),
  },
  failed: {
    title: 'Failed connects',
    format: percent,
    // Without attempts or segments, the fraction is unknown rather than zero.
    read: ({ counts }) => (counts === undefined ? null : failedShare(counts)),
  },
  retransmitted: {
    title: 'Retransmitted segments',
    format: percent,
    read: ({ counts }) => (counts === undefined ? null : lostShare(counts)),
  },
  roundTrip: {
    title: 'Round-trip time',
    format: seconds,
    // Without a measurement, the value is unknown rather than zero.
    read: ({ counts }) => (counts === undefined ? null : roundTripOf(counts)),
  },
  requests: {
    title: 'Requests per second',
    format: (value) => `${rate(value)}/s`,
    read: ({ counts, seconds }) => (counts === undefined ? null : counts.requests.requests / seconds),
  },
  requestErrors: {
    title: 'Requests with errors',
    format: percent,
    read: ({ counts }) => (counts === undefined ? null : failedRequests(counts.requests)),
  },
  declined: {
    title: 'Declined requests',
    format: percent,
    read: ({ counts }) => {
      const { requests = 0, declined = 0 } = counts?.requests ?? {};
      return requests === 0 ? null : declined / requests;
    },
  },
  requestTime: {
    title: '99th percentile of the time to the answer',
    format: seconds,
    read: ({ counts }) => (counts === undefined ? null : durationQuantile(counts.requests, 0.99)),
  },
};

/** Returns the points of a line that ends at the last reading and covers five minutes. */
export function lineOf(points: readonly Point[], measure: Measure, endMs: number): SparkPoint[] {
  const { read } = MEASURES[measure];
  return points.map((point, index) => ({
    at: 1 - (endMs - point.endMs) / HISTORY_MS,
    value: read(point),
    isAfterGap: index > 0 && points[index - 1]?.endMs !== point.startMs,
  }));
}
