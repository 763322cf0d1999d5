/** Why an event did not get where it should. */
export type DropReason = 'queue_full' | 'write_failed' | 'shutdown';

interface Count {
  delivered: number;
  pending: number;
  readonly dropped: Map<DropReason, number>;
}

export interface LedgerRow {
  readonly probe: string;
  readonly sink: string;
  readonly delivered: number;
  readonly pending: number;
  readonly dropped: ReadonlyMap<DropReason, number>;
}

/**
 * Accounts for every event from the fan-out on, for each probe and sink: what came in is delivered, dropped or still
 * pending. With what the kernel counts (produced, limited, lost) that balances to the event.
 */
export class Ledger {
  readonly #counts = new Map<string, Map<string, Count>>();

  accepted(probe: string, sink: string): void {
    this.#of(probe, sink).pending++;
  }

  delivered(probe: string, sink: string): void {
    const count = this.#of(probe, sink);
    count.pending--;
    count.delivered++;
  }

  dropped(probe: string, sink: string, reason: DropReason): void {
    const count = this.#of(probe, sink);
    count.pending--;
    count.dropped.set(reason, (count.dropped.get(reason) ?? 0) + 1);
  }

  rows(): LedgerRow[] {
    return [...this.#counts].flatMap(([sink, byProbe]) =>
      [...byProbe].map(([probe, count]) => ({ probe, sink, ...count })),
    );
  }

  #of(probe: string, sink: string): Count {
    let byProbe = this.#counts.get(sink);
    if (byProbe === undefined) {
      byProbe = new Map();
      this.#counts.set(sink, byProbe);
    }
    let count = byProbe.get(probe);
    if (count === undefined) {
      count = { delivered: 0, pending: 0, dropped: new Map() };
      byProbe.set(probe, count);
    }
    return count;
  }
}
