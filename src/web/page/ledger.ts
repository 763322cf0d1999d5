import type { LedgerReport } from '../../server.ts';

/** An account of the events of a probe for one sink. */
export interface Account {
  readonly probe: string;
  readonly sink: string;
  readonly produced: number;
  readonly limited: number;
  readonly folded: number;
  readonly held: number;
  readonly delivered: number;
  readonly pending: number;
  readonly recovered: number;
  /** Causes that occurred, with their counts. */
  readonly dropped: readonly (readonly [cause: string, count: number])[];
  /** What is not accounted for; 0 where it balances. */
  readonly rest: number;
}

/** Of each probe that had an event, for each sink; for none where there is no sink. */
export function accountsOf({ probes, sinks }: LedgerReport): Account[] {
  return probes
    .filter(({ probe, produced }) => produced > 0 || sinks.some((row) => row.probe === probe && row.recovered > 0))
    .flatMap((entry) => {
      const rows = sinks.filter(({ probe }) => probe === entry.probe);
      return rows.length === 0 ? [accountOf(entry, undefined)] : rows.map((row) => accountOf(entry, row));
    });
}

function accountOf(
  { probe, produced, limited, limitedLater, lost, folded, held }: LedgerReport['probes'][number],
  row: LedgerReport['sinks'][number] | undefined,
): Account {
  const { sink = '', delivered = 0, pending = 0, recovered = 0, dropped = {} } = row ?? {};
  const causes = Object.entries({ ring_full: lost, ...dropped }).filter(([, count]) => count > 0);
  const gone = causes.reduce((sum, [, count]) => sum + count, 0);
  const allLimited = limited + limitedLater;
  const known = allLimited + folded + held + delivered + pending + gone;
  return {
    probe,
    sink,
    produced,
    limited: allLimited,
    folded,
    held,
    delivered,
    pending,
    recovered,
    dropped: causes,
    // Without a sink nobody says what was taken.
    rest: row === undefined ? 0 : produced + recovered - known,
  };
}

/** So often must the same be left over, before it is no longer on its way between two of the places that count. */
const SETTLED = 4;

/** Tells what is on its way from what is missing. */
export class Balance {
  readonly #seen = new Map<string, { rest: number; times: number }>();

  add(accounts: readonly Account[]): void {
    for (const { probe, sink, rest } of accounts) {
      const key = `${probe} ${sink}`;
      const before = this.#seen.get(key);
      this.#seen.set(key, { rest, times: before?.rest === rest ? before.times + 1 : 1 });
    }
  }

  stateOf({ probe, sink, rest }: Account): 'balances' | 'on its way' | 'missing' {
    if (rest === 0) return 'balances';
    return (this.#seen.get(`${probe} ${sink}`)?.times ?? 0) >= SETTLED ? 'missing' : 'on its way';
  }
}
