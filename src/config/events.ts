import * as z from 'zod';
import { milliseconds } from '#core/duration.ts';

const LIMIT = 200;
const LIMIT_MAX = 100_000;
const HISTORY = 1_000;
const HISTORY_MAX = 100_000;

const FOLD_BY = ['service', 'connection'] as const;
/** Says whether events that differ only in the client's port are equal. */
export type FoldBy = (typeof FOLD_BY)[number];

export interface EventsConfig {
  readonly limit: number;
  readonly foldMs: number;
  readonly foldBy: FoldBy;
  readonly history: number;
}

/** Processing of events before they are given to the sinks. */
export const EVENTS = z
  .strictObject({
    limit: z
      .int()
      .min(1)
      .max(LIMIT_MAX)
      .default(LIMIT)
      .describe(
        'Events a second that one Pod may send, counted after folding and for all probes together; a burst may have twice as many.',
      ),
    fold: milliseconds('5s', '0s', '1m').describe(
      'Window in which equal events are folded: the first is sent, and one more that stands for the rest; `0s` sends them all.',
    ),
    foldBy: z
      .enum(FOLD_BY)
      .default('service')
      .describe(
        'Events that count as equal: with `service` also those that differ only in the client’s port, which `ports` lists; with `connection` they do not.',
      ),
    history: z
      .int()
      .min(0)
      .max(HISTORY_MAX)
      .default(HISTORY)
      .describe(
        'Events that are kept in memory for `netsonde events` and `/api/v1/events`; each Pod has a share of them.',
      ),
  })
  .transform(({ limit, fold, foldBy, history }): EventsConfig => ({ limit, foldMs: fold, foldBy, history }));
