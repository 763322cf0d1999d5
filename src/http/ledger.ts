import type { KernelLedgerEntry, LedgerReport } from '#api/ledger.ts';
import type { LaneRow, LedgerRow } from '#delivery/ledger.ts';
import type { Source } from '#delivery/record.ts';
import { EVENT_KIND } from '#events/event_kind.ts';

/** Counts of one record kind and probe, before the records are passed to the sinks. */
export type SourceRow = LedgerReport['probes'][number];

/** Returns the response of `/api/v1/ledger`. */
export function ledgerReport(probes: readonly SourceRow[], sinks: readonly LedgerRow[]): LedgerReport {
  return { probes, sinks: sinks.map((row) => ({ ...row, dropped: Object.fromEntries(row.dropped) })) };
}

const NOTHING = { received: 0, limited: 0, folded: 0, held: 0 };

/**
 * @param kernel event counts of the kernel thread
 * @param lane counts of the main thread; for records other than events, they are the only ones
 */
export function sourceRows(kernel: readonly KernelLedgerEntry[], lane: readonly LaneRow[]): SourceRow[] {
  const later = new Map(lane.filter(({ kind }) => kind === EVENT_KIND.name).map((row) => [row.probe, row]));
  const events = kernel.map((entry) => toRow(EVENT_KIND.name, entry, later.get(entry.probe) ?? NOTHING));
  const others = lane
    .filter(({ kind }) => kind !== EVENT_KIND.name)
    .map((row) => {
      const { probe, received: produced } = row;
      return toRow(row.kind, { probe, stage: 'agent', produced, limited: 0, lost: 0 }, row);
    });
  return [...events, ...others];
}

function toRow(
  kind: string,
  entry: KernelLedgerEntry,
  { limited, folded, held }: Omit<LaneRow, keyof Source>,
): SourceRow {
  return { kind, ...entry, limitedLater: limited, folded, held };
}
