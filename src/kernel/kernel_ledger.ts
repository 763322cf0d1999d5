import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { Kind } from '#core/record_kinds.ts';

type Counts = Pick<KernelLedgerEntry, 'produced' | 'limited' | 'limitedLater' | 'lost'>;

const NONE: Counts = { produced: 0, limited: 0, limitedLater: 0, lost: 0 };

/**
 * Sums the record counts of all kernel threads so far. Each thread starts to count at zero. For an abandoned thread,
 * the numbers of limited and lost records are taken from its last ledger, and the other records are counted as they
 * reach the main thread.
 */
export class KernelLedger {
  readonly #earlier = new Map<string, Counts>();
  readonly #arrived = new Map<string, number>();
  #last: readonly KernelLedgerEntry[] = [];

  received(kind: Kind, records: readonly { readonly probe: string }[]): void {
    for (const { probe } of records) {
      const key = keyOf({ kind, probe });
      this.#arrived.set(key, (this.#arrived.get(key) ?? 0) + 1);
    }
  }

  /** @param ledger ledger of the current thread */
  total(ledger: readonly KernelLedgerEntry[]): KernelLedgerEntry[] {
    this.#last = ledger;
    return ledger.map((entry) => ({ ...entry, ...sum(entry, this.#earlier.get(keyOf(entry)) ?? NONE) }));
  }

  /** Called when the current thread is abandoned. */
  replaced(): void {
    const last = new Map(this.#last.map((entry) => [keyOf(entry), entry]));
    for (const key of new Set([...last.keys(), ...this.#arrived.keys()])) {
      const { limited, limitedLater, lost } = last.get(key) ?? NONE;
      const produced = (this.#arrived.get(key) ?? 0) + limited + limitedLater + lost;
      this.#earlier.set(key, sum({ produced, limited, limitedLater, lost }, this.#earlier.get(key) ?? NONE));
    }
    this.#last = [];
    this.#arrived.clear();
  }
}

function keyOf({ kind, probe }: Pick<KernelLedgerEntry, 'kind' | 'probe'>): string {
  return `${kind} ${probe}`;
}

function sum(a: Counts, b: Counts): Counts {
  return {
    produced: a.produced + b.produced,
    limited: a.limited + b.limited,
    limitedLater: a.limitedLater + b.limitedLater,
    lost: a.lost + b.lost,
  };
}
