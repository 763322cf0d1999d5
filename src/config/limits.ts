import * as z from 'zod';

/** More than 500 Pods have with every metric, or 110 Pods with 64 edges of 22 series each: docs/scale.md has the series of a Pod. */
const SERIES = 200_000;
const SERIES_MIN = 1_000;
const SERIES_MAX = 10_000_000;

export interface LimitsConfig {
  /** Most series of all probes on a page. */
  readonly series: number;
}

export const LIMIT_KEYS = {
  series: z
    .int()
    .min(SERIES_MIN)
    .max(SERIES_MAX)
    .default(SERIES)
    .describe(
      'Series of all probes on the page of an agent. A longer page adds up edges under `*` first, then values of open labels.',
    ),
};

/** The `limits` section. */
export const LIMITS = z
  .preprocess((value) => value ?? {}, z.strictObject(LIMIT_KEYS))
  .prefault({})
  .describe('What bounds the agent as a whole.');
