import * as z from 'zod';
import { count, time } from './fields.ts';

/** One fault of a configuration. */
const FAULT = z
  .strictObject({
    path: z.string().describe('Path of the fault: `probes.packetloss.limit`; empty for the document itself.'),
    value: z.string().describe('The faulty value as JSON, cut; empty where there is none.'),
    allowed: z.string().describe('Allowed values, or the fault of the document, in words.'),
  })
  .readonly();
export type Fault = z.infer<typeof FAULT>;

/** State of the configuration. */
const STATUS = z.strictObject({
  file: z.string().nullable().describe('File that it comes from; null: none.'),
  configMap: z
    .string()
    .nullable()
    .describe('`namespace/name/key` of the ConfigMap that it comes from, through the Kubernetes API; null: none.'),
  generation: count().describe('Number of the active configuration, counted from the start; 0: all defaults hold.'),
  successful: z
    .boolean()
    .describe('Whether the last configuration that was read was applied, by every part of the agent.'),
  appliedMs: count().describe('When a configuration was last applied, in milliseconds since 1970; 0: never.'),
  notice: z.string().describe('Reason why changes of the file are noticed late; empty: they are not.'),
  rejected: z
    .strictObject({
      at: time().describe('When it was rejected.'),
      faults: z.array(FAULT).readonly().describe('All its faults.'),
    })
    .readonly()
    .nullable()
    .describe(
      'The last configuration that was rejected, or not applied by every part of the agent, even if a later one was applied; null: none.',
    ),
});
export type ConfigStatus = Readonly<z.infer<typeof STATUS>>;

/** `/api/v1/config` */
export const CONFIG_REPORT = STATUS.extend({
  document: z
    .record(z.string(), z.unknown())
    .readonly()
    .describe(
      '[The configuration](configuration.md) of this node with every default; values that may be secret are hidden.',
    ),
}).readonly();
export type ConfigReport = z.infer<typeof CONFIG_REPORT>;
