import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';

type Counts = Pick<KernelLedgerEntry, 'produced' | 'limited' | 'lost'>;

const NONE: Counts = { produced: 0, limited: 0, lost: 0 };

/**
 * Sums the event counts of all kernel threads so far, each of which starts at zero. For an abandoned thread, the limited
 * and lost events come from its last ledger; its other events are those that arrived here.
 */
export class KernelLedger {
  readonly #earlier = new Map<string, Counts>();
  readonly #arrived = new Map<string, number>();
  #last: readonly KernelLedgerEntry[] = [];

  received(events: readonly EventRecord[]): void {
    for (const { probe } of events) this.#arrived.set(probe, (this.#arrived.get(probe) ?? 0) + 1);
  }

  /** @param ledger ledger of the current thread */
  total(ledger: readonly KernelLedgerEntry[]): KernelLedgerEntry[] {
    this.#last = ledger;
    return ledger.map((entry) => ({ ...entry, ...sum(entry, this.#earlier.get(entry.probe) ?? NONE) }));
  }

  /** Called when the current thread is abandoned. */
  replaced(): void {
    const last = new Map(this.#last.map((entry) => [entry.probe, entry]));
    for (const probe of new Set([...last.keys(), ...this.#arrived.keys()])) {
      const { limited, lost } = last.get(probe) ?? NONE;
      const produced = (this.#arrived.get(probe) ?? 0) + limited + lost;
      this.#earlier.set(probe, sum({ produced, limited, lost }, this.#earlier.get(probe) ?? NONE));
    }
    this.#last = [];
    this.#arrived.clear();
  }
}

function sum(a: Counts, b: Counts): Counts {
  return { produced: a.produced + b.produced, limited: a.limited + b.limited, lost: a.lost + b.lost };
}
