import * as z from 'zod';
import { count, time } from './fields.ts';
import { SINK_STATES } from './words.ts';

const STATUS = z
  .strictObject({
    name: z.string().describe('Name of the sink.'),
    state: z.enum(SINK_STATES).describe('Whether the sink accepts events.'),
    reason: z.string().describe('Why the sink does not accept events; empty if it does.'),
    since: time().describe('When the sink entered this state.'),
    until: time().nullable().describe('Time of the next retry; null if none is scheduled.'),
    pending: count().describe('Events that wait for the sink.'),
    pendingBytes: count().describe('Size of the pending events in bytes.'),
    retries: count().describe('Number of retried writes.'),
    rejected: z
      .strictObject({
        at: time().describe('When the event was rejected.'),
        why: z.string().describe('Reason that the sink gave.'),
      })
      .readonly()
      .nullable()
      .describe('The last event that the sink rejected permanently; null if there is none.'),
  })
  .readonly();
export type SinkStatus = z.infer<typeof STATUS>;

/** Response body of `/api/v1/sinks`. */
export const SINKS_REPORT = z
  .strictObject({ sinks: z.array(STATUS).readonly().describe('Sinks that are configured.') })
  .readonly();
export type SinksReport = z.infer<typeof SINKS_REPORT>;
