import * as z from 'zod';
import { count, time } from './fields.ts';
import { SINK_STATES } from './words.ts';

const STATUS = z
  .strictObject({
    name: z.string().describe('Name of the sink.'),
    state: z.enum(SINK_STATES).describe('State of the sink: whether it takes events.'),
    reason: z.string().describe('Reason why it takes no events; empty where it does.'),
    since: time().describe('When the sink came into this state.'),
    until: time().nullable().describe('Time of the next retry; null: none is due.'),
    pending: count().describe('Events that wait for the sink.'),
    pendingBytes: count().describe('Bytes that the waiting events take.'),
    retries: count().describe('Writes that were retried.'),
    rejected: z
      .strictObject({
        at: time().describe('When the event was refused.'),
        why: z.string().describe('Reason that the sink gave.'),
      })
      .readonly()
      .nullable()
      .describe('The last event that the sink refused for good; null: none.'),
  })
  .readonly();
export type SinkStatus = z.infer<typeof STATUS>;

/** `/api/v1/sinks` */
export const SINKS_REPORT = z
  .strictObject({ sinks: z.array(STATUS).readonly().describe('Sinks that are configured.') })
  .readonly();
export type SinksReport = z.infer<typeof SINKS_REPORT>;
