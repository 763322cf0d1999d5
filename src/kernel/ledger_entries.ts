import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { ActiveProbe } from '#collectors/supervisor.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { UNOFFERED } from '#probe/records.ts';
import type { RetainedStates } from '#probe/retained.ts';
import type { Outbox } from './outbox.ts';

/**
 * Returns the ledger entries of all probes, including disabled ones: one for each probe with events, and one for
 * each probe with other records.
 */
export function ledgerOf(
  probes: readonly AnyProbe[],
  running: readonly ActiveProbe[],
  retained: RetainedStates,
  outbox: Pick<Outbox, 'offered'>,
): KernelLedgerEntry[] {
  const active = new Map(running.map(({ name, probe }) => [name, probe]));
  return probes.flatMap(({ name, kind, events, records }) => {
    const stage = kind === 'ebpf' ? 'kernel' : 'agent';
    const entries: KernelLedgerEntry[] = [];
    if (Object.keys(events).length > 0) {
      const { produced, limited, lost } = active.get(name)?.ledger?.() ?? retained.of(name, EVENT_LEDGER).value;
      entries.push({
        kind: 'event',
        probe: name,
        stage,
        produced: Number(produced),
        limited: Number(limited),
        limitedLater: 0,
        lost: Number(lost),
      });
    }
    if (records !== undefined) {
      const { limited, lost } = active.get(name)?.unoffered?.() ?? retained.of(name, UNOFFERED).value;
      const offered = outbox.offered(name);
      entries.push({
        kind: records.kind,
        probe: name,
        stage,
        produced: offered.selected + Number(limited) + Number(lost),
        limited: Number(limited),
        limitedLater: offered.limited,
        lost: Number(lost),
      });
    }
    return entries;
  });
}
