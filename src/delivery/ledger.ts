import type { DropReason } from '#api/words.ts';

interface Count {
  /** Given to the sink's queue. */
  accepted: number;
  delivered: number;
  /** Found in the spool that an earlier run of the agent left behind. */
  recovered: number;
  readonly dropped: Map<DropReason, number>;
}

/** What became of the events of a probe that were given to a sink: accepted + recovered = delivered + pending + dropped. */
export interface LedgerRow {
  readonly probe: string;
  readonly sink: string;
  readonly delivered: number;
  readonly pending: number;
  readonly recovered: number;
  readonly dropped: ReadonlyMap<DropReason, number>;
}

/** What became of the events of a probe before they were given to any sink. */
export interface FoldRow {
  readonly probe: string;
  readonly limited: number;
  readonly folded: number;
  /** Held until their window ends. */
  readonly held: number;
}

/**
 * Accounts for every event of each probe from when it leaves the kernel thread: it is folded, limited or held, or given to
 * all sinks, and there delivered, dropped or still pending. With what the kernel counts (produced, limited, lost) that
 * balances to the event, for each sink.
 */
export class Ledger {
  readonly #counts = new Map<string, Map<string, Count>>();
  readonly #before = new Map<string, { limited: number; folded: number; held: number; published: number }>();

  limited(probe: string): void {
    this.#beforeOf(probe).limited++;
  }

  folded(probe: string): void {
    this.#beforeOf(probe).folded++;
  }

  held(probe: string, change: 1 | -1): void {
    this.#beforeOf(probe).held += change;
  }

  /** Given to all sinks that there are. */
  published(probe: string): void {
    this.#beforeOf(probe).published++;
  }

  accepted(probe: string, sink: string): void {
    this.#of(probe, sink).accepted++;
  }

  recovered(probe: string, sink: string, count: number): void {
    this.#of(probe, sink).recovered += count;
  }

  delivered(probe: string, sink: string): void {
    this.#of(probe, sink).delivered++;
  }

  dropped(probe: string, sink: string, reason: DropReason, count = 1): void {
    const { dropped } = this.#of(probe, sink);
    dropped.set(reason, (dropped.get(reason) ?? 0) + count);
  }

  before(): FoldRow[] {
    return [...this.#before].map(([probe, { limited, folded, held }]) => ({ probe, limited, folded, held }));
  }

  /** Of these sinks, for every probe that had an event. */
  rows(sinks: readonly string[]): LedgerRow[] {
    return sinks.flatMap((sink) => [...this.#probesOf(sink)].map((probe) => this.#row(probe, sink)));
  }

  #probesOf(sink: string): Set<string> {
    return new Set([...this.#before.keys(), ...(this.#counts.get(sink)?.keys() ?? [])]);
  }

  #row(probe: string, sink: string): LedgerRow {
    const { accepted, delivered, recovered, dropped } = this.#of(probe, sink);
    const lost = [...dropped.values()].reduce((sum, count) => sum + count, 0);
    const missed = (this.#before.get(probe)?.published ?? 0) - accepted;
    return {
      probe,
      sink,
      delivered,
      pending: accepted + recovered - delivered - lost,
      recovered,
      // What was there before the sink was: a sink that is switched off and on again balances as well.
      dropped: missed > 0 ? new Map(dropped).set('not_configured', missed) : dropped,
    };
  }

  #beforeOf(probe: string): { limited: number; folded: number; held: number; published: number } {
    let count = this.#before.get(probe);
    if (count === undefined) {
      count = { limited: 0, folded: 0, held: 0, published: 0 };
      this.#before.set(probe, count);
    }
    return count;
  }

  #of(probe: string, sink: string): Count {
    let byProbe = this.#counts.get(sink);
    if (byProbe === undefined) {
      byProbe = new Map();
      this.#counts.set(sink, byProbe);
    }
    let count = byProbe.get(probe);
    if (count === undefined) {
      count = { accepted: 0, delivered: 0, recovered: 0, dropped: new Map() };
      byProbe.set(probe, count);
    }
    return count;
  }
}
