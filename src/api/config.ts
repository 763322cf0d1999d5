import * as z from 'zod';
import { count, time } from './fields.ts';

/** Schema of an error in a configuration. */
const FAULT = z
  .strictObject({
    path: z.string().describe('Path of the faulty value: `probes.packetloss.limit`; empty for the whole document.'),
    value: z.string().describe('The faulty value as JSON, truncated; empty if there is none.'),
    allowed: z.string().describe('Allowed values, or what is wrong with the document.'),
  })
  .readonly();
export type Fault = z.infer<typeof FAULT>;

/** Schema of the state of the configuration. */
const STATUS = z.strictObject({
  file: z.string().nullable().describe('File that the configuration is read from; null if it is not read from a file.'),
  configMap: z
    .string()
    .nullable()
    .describe(
      'ConfigMap that the configuration is read from, as `namespace/name/key`; null if it is not read from the API.',
    ),
  generation: count().describe('Number of configurations applied since the start; 0 while the defaults apply.'),
  successful: z.boolean().describe('Whether every part of the agent applied the last configuration that was read.'),
  appliedMs: count().describe('When a configuration was last applied, in milliseconds since 1970; 0 if never.'),
  notice: z.string().describe('Why changes of the file are detected late; empty if they are detected immediately.'),
  rejected: z
    .strictObject({
      at: time().describe('When it was rejected.'),
      faults: z.array(FAULT).readonly().describe('All errors in it.'),
    })
    .readonly()
    .nullable()
    .describe(
      'The last configuration that was rejected or only partly applied, even if a later one was applied; null if there is none.',
    ),
});
export type ConfigStatus = Readonly<z.infer<typeof STATUS>>;

/** Response body of `/api/v1/config`. */
export const CONFIG_REPORT = STATUS.extend({
  document: z
    .record(z.string(), z.unknown())
    .readonly()
    .describe(
      '[The configuration](configuration.md) of this node with all defaults filled in. Values that may be secret are hidden.',
    ),
}).readonly();
export type ConfigReport = z.infer<typeof CONFIG_REPORT>;
