import * as z from 'zod';
import { millisecondsBetween } from '#core/duration.ts';

/**
 * Default limit of the series on a page. It is enough for 400 Pods with all metrics and as many edges as docs/scale.md
 * assumes.
 */
const SERIES = 200_000;
const SERIES_MIN = 1_000;
const SERIES_MAX = 10_000_000;

export interface LimitsConfig {
  /** Maximum number of series on a page, over all probes. */
  readonly series: number;
  /** Longest scrape interval of any scraper, in milliseconds; if undefined, the agent measures it. */
  readonly scrapeInterval: number | undefined;
}

export const LIMIT_KEYS = {
  series: z
    .int()
    .min(SERIES_MIN)
    .max(SERIES_MAX)
    .default(SERIES)
    .describe(
      'Maximum number of series of all probes on a page. Beyond it, edges are summed under `*` first, then the values of other open labels.',
    ),
  scrapeInterval: millisecondsBetween('1s', '2m')
    .optional()
    .describe(
      'Scrape interval of Prometheus, the longest one if there are several. A new series is shown at 0 for this time plus a quarter. The agent measures the interval if it is not set.',
    ),
};

/** Schema of the `limits` section. */
export const LIMITS = z
  .preprocess((value) => value ?? {}, z.strictObject(LIMIT_KEYS))
  .prefault({})
  .describe('Limits of the agent as a whole.');
