import * as z from 'zod';
import { count, time } from './fields.ts';

/** One thing that is wrong with a configuration. */
const FAULT = z
  .strictObject({
    path: z.string().describe('Where: `probes.packetloss.limit`; empty for the document itself.'),
    value: z.string().describe('The faulty value as JSON, cut; empty where there is none.'),
    allowed: z.string().describe('What would be right, or what is wrong with the document, in words.'),
  })
  .readonly();
export type Fault = z.infer<typeof FAULT>;

/** What became of the configuration. */
const STATUS = z.strictObject({
  file: z.string().nullable().describe('File that it comes from; null: there is none.'),
  configMap: z
    .string()
    .nullable()
    .describe('`namespace/name/key` that it comes from, through the Kubernetes API; null: it does not.'),
  generation: count().describe('Number of the configuration in force, counted from the start; 0: all defaults hold.'),
  successful: z.boolean().describe('The last one that was read was applied, by every part of the agent.'),
  appliedMs: count().describe('When one was applied last, in milliseconds since 1970; 0: never.'),
  notice: z.string().describe('Why changes of the file are noticed late; empty: they are not.'),
  rejected: z
    .strictObject({
      at: time().describe('When it was rejected.'),
      faults: z.array(FAULT).readonly().describe('All that is wrong with it.'),
    })
    .readonly()
    .nullable()
    .describe(
      'The last one that was rejected, or not applied by every part of the agent, also when a later one was applied; null: none.',
    ),
});
export type ConfigStatus = Readonly<z.infer<typeof STATUS>>;

/** `/api/v1/config` */
export const CONFIG_REPORT = STATUS.extend({
  document: z
    .record(z.string(), z.unknown())
    .readonly()
    .describe('[The configuration](configuration.md) of this node with every default; what may be a secret is hidden.'),
}).readonly();
export type ConfigReport = z.infer<typeof CONFIG_REPORT>;
