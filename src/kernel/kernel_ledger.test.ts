import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import { KernelLedger } from './kernel_ledger.ts';

function entry(probe: string, produced: number, limited: number, lost: number, kind = 'event'): KernelLedgerEntry {
  return { kind, probe, stage: 'kernel', produced, limited, limitedLater: 0, lost };
}

function events(probe: string, count: number): EventRecord[] {
  return Array.from({ length: count }, () => ({ probe }) as EventRecord);
}

it('is that of the thread, while there is only one', () => {
  const ledger = new KernelLedger();
  ledger.received('event', events('packetloss', 3));
  expect(ledger.total([entry('packetloss', 10, 5, 2)])).toEqual([entry('packetloss', 10, 5, 2)]);
});

it('continues where a thread was abandoned, with the events that arrived from it', () => {
  const ledger = new KernelLedger();
  ledger.received('event', events('packetloss', 3));
  ledger.total([entry('packetloss', 10, 5, 2), entry('tcpreset', 0, 0, 0)]);
  // These events arrive after the last ledger, which has no entry for softirq yet.
  ledger.received('event', [...events('packetloss', 4), ...events('softirq', 1)]);
  ledger.replaced();
  expect(ledger.total([entry('packetloss', 0, 0, 0), entry('softirq', 2, 1, 0)])).toEqual([
    entry('packetloss', 14, 5, 2),
    entry('softirq', 3, 1, 0),
  ]);
  ledger.received('event', events('packetloss', 1));
  ledger.total([entry('packetloss', 1, 0, 0)]);
  ledger.replaced();
  expect(ledger.total([entry('packetloss', 0, 0, 0)])).toEqual([entry('packetloss', 15, 5, 2)]);
});

it('counts records of another kind apart from the events of the same probe, and those beyond the limit of a Pod', () => {
  const ledger = new KernelLedger();
  ledger.received('event', events('flow', 2));
  ledger.received('flow', events('flow', 5));
  ledger.total([entry('flow', 2, 0, 0), { ...entry('flow', 9, 0, 1, 'flow'), limitedLater: 3 }]);
  ledger.replaced();
  expect(ledger.total([entry('flow', 1, 0, 0), entry('flow', 0, 0, 0, 'flow')])).toEqual([
    entry('flow', 3, 0, 0),
    { ...entry('flow', 9, 0, 1, 'flow'), limitedLater: 3 },
  ]);
});
