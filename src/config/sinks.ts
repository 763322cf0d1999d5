import * as z from 'zod';
import { size } from '../size.ts';

const QUEUE_EVENTS = 10_000;
const QUEUE_EVENTS_MAX = 1_000_000;

/** A key with nothing behind it means all defaults. */
function section<T extends z.ZodRawShape>(shape: T) {
  return z.preprocess((value) => value ?? {}, z.strictObject(shape));
}

const QUEUE = {
  queue: z
    .int()
    .min(1)
    .max(QUEUE_EVENTS_MAX)
    .default(QUEUE_EVENTS)
    .describe('Events that may wait in memory; past that the oldest are dropped and counted.'),
  queueBytes: size('16MiB', '64KiB', '1GiB').describe('Bytes that their texts may have.'),
};

export const SINKS = z
  .strictObject({
    stdout: section(QUEUE).optional().describe('A JSON object a line on standard output.'),
  })
  .prefault({ stdout: {} })
  .describe('Where events go.');

export type SinksConfig = z.output<typeof SINKS>;
export type SinkName = keyof SinksConfig;
export type SinkConfig<Name extends SinkName> = NonNullable<SinksConfig[Name]>;
export type QueueConfig = SinkConfig<'stdout'>;
