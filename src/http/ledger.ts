import type { KernelLedgerEntry, LedgerReport } from '#api/ledger.ts';
import type { LaneRow, LedgerRow } from '#delivery/ledger.ts';
import type { Source } from '#delivery/record.ts';
import { EVENT_KIND } from '#events/event_kind.ts';

/** Counts of the records of a kind and probe before they were given to any sink. */
export type SourceRow = LedgerReport['probes'][number];

/** Answers `/api/v1/ledger`. */
export function ledgerReport(probes: readonly SourceRow[], sinks: readonly LedgerRow[]): LedgerReport {
  return { probes, sinks: sinks.map((row) => ({ ...row, dropped: Object.fromEntries(row.dropped) })) };
}

const NOTHING = { received: 0, limited: 0, folded: 0, held: 0 };

/**
 * @param kernel counts of events before they left the kernel thread
 * @param lane later counts. Records of other kinds than events begin there
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
