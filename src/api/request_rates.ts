/**
 * Growth of the totals of requests. Both the command line and the web page load this file at run time, so it must not
 * import schemas.
 */

/** Counts of requests that have ended, either in total or since an earlier response. */
export interface RequestCounts {
  readonly requests: number;
  readonly failed: number;
  readonly declined: number;
  readonly unread: number;
  /** Sum of the measured durations. */
  readonly seconds: number;
  /** Answered requests by duration. */
  readonly durations: readonly number[];
}

/** Bounds of the buckets of durations in seconds, without that of the last one, which has none. */
const BOUNDS = Array.from({ length: 8 }, (_, index) => (256 * 4 ** index) / 1e6);

export const NO_REQUESTS: RequestCounts = {
  requests: 0,
  failed: 0,
  declined: 0,
  unread: 0,
  seconds: 0,
  durations: [...BOUNDS, 0].map(() => 0),
};

type Totals = RequestCounts | null | undefined;

/**
 * Returns the growth of totals. If they have decreased, because the agent was restarted, returns the totals themselves.
 * @param past earlier totals; none to return the totals themselves
 */
export function requestGrowth(now: Totals, past: Totals): RequestCounts {
  if (now === null || now === undefined) return NO_REQUESTS;
  if (past === null || past === undefined || past.requests > now.requests || past.failed > now.failed) return now;
  if (past.requests === now.requests) return NO_REQUESTS;
  return combined(now, past, (a, b) => Math.max(0, a - b));
}

export function addRequestCounts(a: RequestCounts, b: RequestCounts): RequestCounts {
  if (b === NO_REQUESTS) return a;
  return a === NO_REQUESTS ? b : combined(a, b, (x, y) => x + y);
}

function combined(a: RequestCounts, b: RequestCounts, one: (a: number, b: number) => number): RequestCounts {
  return {
    requests: one(a.requests, b.requests),
    failed: one(a.failed, b.failed),
    declined: one(a.declined, b.declined),
    unread: one(a.unread, b.unread),
    seconds: one(a.seconds, b.seconds),
    durations: a.durations.map((count, bucket) => one(count, b.durations[bucket] ?? 0)),
  };
}

/** Returns the fraction of requests that failed; null if there were none. */
export function failedRequests({ requests, failed }: RequestCounts): number | null {
  return requests === 0 ? null : failed / requests;
}

/**
 * Returns an estimate of a quantile of the durations in seconds, by linear interpolation within its bucket, as
 * Prometheus does, but no longer than the sum of all durations allows: one request of 1.3 s among short ones does not
 * look like 4 s because its bucket ends there. Null if no request was answered. Longer durations than the last bound
 * count as that bound.
 * @param quantile 0 to 1
 */
export function durationQuantile({ durations, seconds }: RequestCounts, quantile: number): number | null {
  const total = durations.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  const least = durations.reduce((sum, count, bucket) => sum + count * leastOf(bucket), 0);
  let below = 0;
  for (const [bucket, bound] of BOUNDS.entries()) {
    const count = durations[bucket] ?? 0;
    if (count > 0 && below + count >= quantile * total) {
      const start = leastOf(bucket);
      const estimate = start + ((bound - start) * (quantile * total - below)) / count;
      // Requests of the bucket that take at least as long as the quantile share the excess of the sum over its minimum.
      const sharing = Math.max(1, below + count - quantile * total);
      return Math.min(estimate, start + Math.max(0, seconds - least) / sharing);
    }
    below += count;
  }
  return BOUNDS.at(-1) ?? null;
}

/** Returns the shortest duration in a bucket. */
function leastOf(bucket: number): number {
  return bucket === 0 ? 0 : (BOUNDS[bucket - 1] ?? 0);
}
