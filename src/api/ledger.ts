import * as z from 'zod';
import { count } from './fields.ts';
import { DROP_REASONS, LEDGER_STAGES } from './words.ts';

const kind = () => z.string().describe('Kind of the records: `event`, `flow`, `incident`, `request`.');

/** Counts of the records of one kind and probe since the agent started, before they leave the kernel thread. */
const KERNEL_ENTRY = z.strictObject({
  kind: kind(),
  probe: z.string().describe('Name of the probe; `incidents` for incidents.'),
  stage: z.enum(LEDGER_STAGES).describe('Stage at which `limited` and `lost` are counted.'),
  produced: count().describe('Records that were created, including those that a limit dropped.'),
  limited: count().describe('Records dropped by the limit per namespace.'),
  limitedLater: count().describe('Records dropped by the limit per Pod.'),
  lost: count().describe('Records lost because the ring buffer was full.'),
});
export type KernelLedgerEntry = Readonly<z.infer<typeof KERNEL_ENTRY>>;

const SINK_ROW = z.strictObject({
  kind: kind(),
  probe: z.string().describe('Name of the probe.'),
  sink: z.string().describe('Name of the sink.'),
  delivered: count().describe('Records accepted by the sink.'),
  pending: count().describe('Records waiting for the sink.'),
  recovered: count().describe('Records found in the spool of an earlier run of the agent.'),
  dropped: z.partialRecord(z.enum(DROP_REASONS), count()).readonly().describe('Records lost, by reason.'),
});

/**
 * Response body of `/api/v1/ledger`. For each kind, probe and sink, `produced` + `recovered` equals the sum of all
 * other counts.
 */
export const LEDGER_REPORT = z
  .strictObject({
    probes: z
      .array(
        KERNEL_ENTRY.extend({
          folded: count().describe('Records folded into another one that repeats them.'),
          held: count().describe(
            'Records held until the end of their window, in case they are repeated, or until their policy is known.',
          ),
        }).readonly(),
      )
      .readonly()
      .describe('Counts before records are passed to the sinks.'),
    sinks: z
      .array(SINK_ROW.readonly())
      .readonly()
      .describe('Counts of each sink, for each kind of records that it accepts and each probe that had records.'),
  })
  .readonly();
export type LedgerReport = z.infer<typeof LEDGER_REPORT>;
