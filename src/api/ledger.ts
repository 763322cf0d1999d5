import * as z from 'zod';
import { count } from './fields.ts';
import { DROP_REASONS, LEDGER_STAGES } from './words.ts';

const kind = () => z.string().describe('Kind of the records: `event`.');

/** Events of one probe before they leave the kernel thread, since the agent's start. */
const KERNEL_ENTRY = z.strictObject({
  probe: z.string().describe('Name of the probe.'),
  stage: z.enum(LEDGER_STAGES).describe('Stage at which `limited` and `lost` are counted.'),
  produced: count().describe('Events that happened, before any limit.'),
  limited: count().describe('Events omitted by the limit of a namespace.'),
  lost: count().describe('Events lost because the ring to the agent was full.'),
});
export type KernelLedgerEntry = Readonly<z.infer<typeof KERNEL_ENTRY>>;

const SINK_ROW = z.strictObject({
  kind: kind(),
  probe: z.string().describe('Name of the probe.'),
  sink: z.string().describe('Name of the sink.'),
  delivered: count().describe('Records taken by the sink.'),
  pending: count().describe('Records waiting for the sink.'),
  recovered: count().describe('Records found in the spool that an earlier run of the agent left.'),
  dropped: z.partialRecord(z.enum(DROP_REASONS), count()).readonly().describe('Records lost, by reason.'),
});

/** `/api/v1/ledger`. For each kind, probe and sink, produced + recovered = all the others. */
export const LEDGER_REPORT = z
  .strictObject({
    probes: z
      .array(
        KERNEL_ENTRY.extend({
          kind: kind(),
          limitedLater: count().describe('Records omitted by the limit of a Pod.'),
          folded: count().describe('Records folded into an equal one.'),
          held: count().describe('Records held until it is known whether equal ones come.'),
        }).readonly(),
      )
      .readonly()
      .describe('Accounts before records are given to the sinks.'),
    sinks: z
      .array(SINK_ROW.readonly())
      .readonly()
      .describe('Accounts at each sink, for the kinds that it takes and every probe that had a record.'),
  })
  .readonly();
export type LedgerReport = z.infer<typeof LEDGER_REPORT>;
