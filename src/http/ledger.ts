import type { KernelLedgerEntry, LedgerReport } from '#api/ledger.ts';
import type { LaneRow, LedgerRow } from '#delivery/ledger.ts';
import type { Source } from '#delivery/record.ts';
import { INCIDENT_SOURCE } from '#events/incident_kind.ts';

/** Record counts of one kind and probe, taken before the records are passed to the sinks. */
export type SourceRow = LedgerReport['probes'][number];

/** Returns the response of `/api/v1/ledger`. */
export function ledgerReport(probes: readonly SourceRow[], sinks: readonly LedgerRow[]): LedgerReport {
  return { probes, sinks: sinks.map((row) => ({ ...row, dropped: Object.fromEntries(row.dropped) })) };
}

const NOTHING = { limited: 0, folded: 0, held: 0 };
const OF_MAIN_THREAD = { ...NOTHING, stage: 'agent', lost: 0, limitedLater: 0 } as const;

/**
 * Combines the record counts of both threads.
 * @param kernel counts of the kernel thread
 * @param lane counts of the main thread
 */
export function sourceRows(kernel: readonly KernelLedgerEntry[], lane: readonly LaneRow[]): SourceRow[] {
  const keyOf = ({ kind, probe }: Source) => `${kind} ${probe}`;
  const later = new Map(lane.map((row) => [keyOf(row), row]));
  const rows = kernel.map((entry) => {
    const { limited, folded, held } = later.get(keyOf(entry)) ?? NOTHING;
    return { ...entry, limitedLater: entry.limitedLater + limited, folded, held };
  });
  // The main thread creates incidents, so the kernel thread has no counts of them.
  const incidents = later.get(keyOf(INCIDENT_SOURCE));
  return [...rows, { ...INCIDENT_SOURCE, ...OF_MAIN_THREAD, produced: incidents?.received ?? 0 }];
}
