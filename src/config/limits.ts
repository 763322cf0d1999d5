import * as z from 'zod';
import { millisecondsBetween } from '#core/duration.ts';

/**
 * More series than 500 Pods have with every metric, or 110 Pods with 64 edges of 22 series each: docs/scale.md has the series of a
 * Pod.
 */
const SERIES = 200_000;
const SERIES_MIN = 1_000;
const SERIES_MAX = 10_000_000;

export interface LimitsConfig {
  /** Maximum number of series of all probes on a page. */
  readonly series: number;
  /** Longest interval between two scrapes of any scraper, in milliseconds; learnt where it is undefined. */
  readonly scrapeInterval: number | undefined;
}

export const LIMIT_KEYS = {
  series: z
    .int()
    .min(SERIES_MIN)
    .max(SERIES_MAX)
    .default(SERIES)
    .describe(
      'Maximum number of series of all probes on the page of an agent. A longer page adds up edges under `*` first, then values of open labels.',
    ),
  scrapeInterval: millisecondsBetween('1s', '2m')
    .optional()
    .describe(
      'Interval at which Prometheus scrapes, the slowest of several: a new series is shown at 0 for this time and a quarter more. Learnt from the scrapes where it is not set.',
    ),
};

/** The `limits` section. */
export const LIMITS = z
  .preprocess((value) => value ?? {}, z.strictObject(LIMIT_KEYS))
  .prefault({})
  .describe('Limits of the agent as a whole.');
