import * as z from 'zod';
import { milliseconds } from '#core/duration.ts';

const LIMIT = 200;
const LIMIT_MAX = 100_000;
const HISTORY = 1_000;
const HISTORY_MAX = 100_000;

const FOLD_BY = ['service', 'connection'] as const;
/** Whether events that differ only in the client's port are folded. */
export type FoldBy = (typeof FOLD_BY)[number];

export interface EventsConfig {
  readonly limit: number;
  readonly foldMs: number;
  readonly foldBy: FoldBy;
  readonly history: number;
  /** Whether events name the policies that deny connections. */
  readonly policies: boolean;
}

/** Schema of the `events` section, which configures how events are processed before they are sent to the sinks. */
export const EVENTS = z
  .strictObject({
    limit: z
      .int()
      .min(1)
      .max(LIMIT_MAX)
      .default(LIMIT)
      .describe(
        'Events per second per Pod, after folding and for all probes together. A Pod may burst to twice the limit.',
      ),
    fold: milliseconds('5s', '0s', '1m').describe(
      'Window in which repeated events are folded: the first is sent at once, and one more at the end stands for the rest. `0s` sends all events.',
    ),
    foldBy: z
      .enum(FOLD_BY)
      .default('service')
      .describe(
        'How events are compared for folding: `service` ignores the client’s port and lists the ports in `ports`; `connection` compares it.',
      ),
    history: z
      .int()
      .min(0)
      .max(HISTORY_MAX)
      .default(HISTORY)
      .describe(
        'Number of events to keep in memory for `netsonde events` and `/api/v1/events`, shared equally among the Pods; also the number of records of each other kind.',
      ),
    policies: z
      .boolean()
      .default(false)
      .describe(
        'Name the network policy that denies a dropped or timed-out connection. Needs the rights of the component `policies`.',
      ),
  })
  .transform(
    ({ limit, fold, foldBy, history, policies }): EventsConfig => ({ limit, foldMs: fold, foldBy, history, policies }),
  );
