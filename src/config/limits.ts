import * as z from 'zod';
import { millisecondsBetween } from '#core/duration.ts';

/** More than 500 Pods have with every metric, or 110 Pods with 64 edges of 22 series each: docs/scale.md has the series of a Pod. */
const SERIES = 200_000;
const SERIES_MIN = 1_000;
const SERIES_MAX = 10_000_000;

export interface LimitsConfig {
  /** Most series of all probes on a page. */
  readonly series: number;
  /** The longest time from scrape to scrape of any scraper, in milliseconds; undefined: it is learnt. */
  readonly scrapeInterval: number | undefined;
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
  scrapeInterval: millisecondsBetween('1s', '2m')
    .optional()
    .describe(
      'How often Prometheus scrapes, the slowest of several: for so long, and a quarter more, a new series is shown to it at 0. Learnt from the scrapes where it is not said.',
    ),
};

/** The `limits` section. */
export const LIMITS = z
  .preprocess((value) => value ?? {}, z.strictObject(LIMIT_KEYS))
  .prefault({})
  .describe('What bounds the agent as a whole.');
