import type { DropReason } from '#api/words.ts';
import { Counts } from './counts.ts';
import type { Source } from './record.ts';

interface SinkCount {
  /** Records put into the sink's queue. */
  accepted: number;
  delivered: number;
  /** Records from an earlier run of the agent, found in the spool. */
  recovered: number;
  readonly dropped: Map<DropReason, number>;
}

/** Outcome at one sink for one record kind and probe. Accepted + recovered = delivered + pending + dropped. */
export interface LedgerRow extends Source {
  readonly sink: string;
  readonly delivered: number;
  readonly pending: number;
  readonly recovered: number;
  readonly dropped: ReadonlyMap<DropReason, number>;
}

interface LaneCount {
  /** Records that entered the lane. */
  received: number;
  limited: number;
  folded: number;
  /** Records held for folding until their window ends. */
  held: number;
  /** Records passed to all sinks that accept their kind. */
  published: number;
}

/** Counts for one record kind and probe before the records reach the sinks. */
export type LaneRow = Source & Readonly<Omit<LaneCount, 'published'>>;

/** A sink, and the record kinds that it accepts. */
export interface SinkKinds {
  readonly name: string;
  readonly kinds: ReadonlySet<string>;
}

/**
 * Counts what happens to every record. In the lane, a record is folded, limited, held, or passed to the sinks that
 * accept its kind. At a sink, it is delivered, dropped or pending. Together with the kernel's counts (produced,
 * limited, lost), the numbers add up exactly for each kind, probe and sink.
 */
export class Ledger {
  readonly #lane = new Counts<LaneCount>(() => ({ received: 0, limited: 0, folded: 0, held: 0, published: 0 }));
  readonly #sinks = new Map<string, Counts<SinkCount>>();

  received(source: Source): void {
    this.#lane.of(source).received++;
  }

  limited(source: Source): void {
    this.#lane.of(source).limited++;
  }

  folded(source: Source): void {
    this.#lane.of(source).folded++;
  }

  held(source: Source, change: 1 | -1): void {
    this.#lane.of(source).held += change;
  }

  published(source: Source): void {
    this.#lane.of(source).published++;
  }

  accepted(source: Source, sink: string): void {
    this.#at(sink).of(source).accepted++;
  }

  recovered(source: Source, sink: string, count: number): void {
    this.#at(sink).of(source).recovered += count;
  }

  delivered(source: Source, sink: string): void {
    this.#at(sink).of(source).delivered++;
  }

  dropped(source: Source, sink: string, reason: DropReason, count = 1): void {
    const { dropped } = this.#at(sink).of(source);
    dropped.set(reason, (dropped.get(reason) ?? 0) + count);
  }

  before(): LaneRow[] {
    return [...this.#lane].map(([source, { received, limited, folded, held }]) => ({
      ...source,
      received,
      limited,
      folded,
      held,
    }));
  }

  /** Returns one row for each sink, record kind and probe, if the sink accepts the kind or still holds such records. */
  rows(sinks: readonly SinkKinds[]): LedgerRow[] {
    return sinks.flatMap(({ name, kinds }) => {
      const known = this.#at(name);
      const sources = [...this.#lane, ...known].map(([source]) => source);
      const unique = new Map(sources.map((source) => [`${source.kind} ${source.probe}`, source]));
      return [...unique.values()]
        .filter((source) => kinds.has(source.kind) || pendingOf(known.of(source)) > 0)
        .map((source) => this.#row(source, name));
    });
  }

  #row(source: Source, sink: string): LedgerRow {
    const count = this.#at(sink).of(source);
    const missed = this.#lane.of(source).published - count.accepted;
    return {
      ...source,
      sink,
      delivered: count.delivered,
      pending: pendingOf(count),
      recovered: count.recovered,
      // Records published while the sink was not configured count as dropped, so that the row adds up.
      dropped: missed > 0 ? new Map(count.dropped).set('not_configured', missed) : count.dropped,
    };
  }

  #at(sink: string): Counts<SinkCount> {
    let counts = this.#sinks.get(sink);
    if (counts === undefined) {
      counts = new Counts(() => ({ accepted: 0, delivered: 0, recovered: 0, dropped: new Map() }));
      this.#sinks.set(sink, counts);
    }
    return counts;
  }
}

function pendingOf({ accepted, recovered, delivered, dropped }: SinkCount): number {
  const lost = [...dropped.values()].reduce((sum, count) => sum + count, 0);
  return accepted + recovered - delivered - lost;
}
