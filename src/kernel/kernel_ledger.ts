import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';

type Counts = Pick<KernelLedgerEntry, 'produced' | 'limited' | 'lost'>;

const NONE: Counts = { produced: 0, limited: 0, lost: 0 };

/**
 * Counts events before they left the kernel thread, over all threads so far. Each thread begins at zero. For an abandoned thread, its
 * last ledger gives the events that it limited and lost; any others that it produced are those that have arrived.
 */
export class KernelLedger {
  readonly #earlier = new Map<string, Counts>();
  readonly #arrived = new Map<string, number>();
  #last: readonly KernelLedgerEntry[] = [];

  received(events: readonly EventRecord[]): void {
    for (const { probe } of events) this.#arrived.set(probe, (this.#arrived.get(probe) ?? 0) + 1);
  }

  /** @param ledger ledger of the thread in use */
  total(ledger: readonly KernelLedgerEntry[]): KernelLedgerEntry[] {
    this.#last = ledger;
    return ledger.map((entry) => ({ ...entry, ...sum(entry, this.#earlier.get(entry.probe) ?? NONE) }));
  }

  /** Called when the thread in use was abandoned. */
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
