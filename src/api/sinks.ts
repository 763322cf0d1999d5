import * as z from 'zod';
import { count, time } from './fields.ts';
import { SINK_STATES } from './words.ts';

const STATUS = z
  .strictObject({
    name: z.string().describe('Name of the sink.'),
    state: z.enum(SINK_STATES).describe('Whether it takes events.'),
    reason: z.string().describe('Why it does not; empty where it does.'),
    since: time().describe('When the sink came into this state.'),
    until: time().nullable().describe('When it is tried again; null: it does not wait.'),
    pending: count().describe('Events that wait.'),
    pendingBytes: count().describe('Bytes that they take.'),
    retries: count().describe('Writes that were offered again.'),
    rejected: z
      .strictObject({
        at: time().describe('When it was refused.'),
        why: z.string().describe('What the sink said.'),
      })
      .readonly()
      .nullable()
      .describe('The last event that it refused for good; null: none.'),
  })
  .readonly();
export type SinkStatus = z.infer<typeof STATUS>;

/** `/api/v1/sinks` */
export const SINKS_REPORT = z
  .strictObject({ sinks: z.array(STATUS).readonly().describe('Those that are configured.') })
  .readonly();
export type SinksReport = z.infer<typeof SINKS_REPORT>;
