import type { LedgerReport } from '#api/ledger.ts';

/** Account of the records of one kind, for one probe and one sink. */
export interface Account {
  readonly kind: string;
  readonly probe: string;
  readonly sink: string;
  readonly produced: number;
  readonly limited: number;
  readonly folded: number;
  readonly held: number;
  readonly delivered: number;
  readonly pending: number;
  readonly recovered: number;
  /** Causes of dropped records with their counts. */
  readonly dropped: readonly (readonly [cause: string, count: number])[];
  /** Number of records that are not accounted for; 0 if the account balances. */
  readonly rest: number;
}

/**
 * Returns an account for each sink and each kind and probe that had records. Without sinks, returns one account per
 * kind and probe.
 */
export function accountsOf({ probes, sinks }: LedgerReport): Account[] {
  return probes
    .map((entry) => ({
      entry,
      rows: sinks.filter(({ kind, probe }) => kind === entry.kind && probe === entry.probe),
    }))
    .filter(({ entry, rows }) => entry.produced > 0 || rows.some(({ recovered }) => recovered > 0))
    .flatMap(({ entry, rows }) => {
      return rows.length === 0 ? [accountOf(entry, undefined)] : rows.map((row) => accountOf(entry, row));
    });
}

function accountOf(
  { kind, probe, produced, limited, limitedLater, lost, folded, held }: LedgerReport['probes'][number],
  row: LedgerReport['sinks'][number] | undefined,
): Account {
  const { sink = '', delivered = 0, pending = 0, recovered = 0, dropped = {} } = row ?? {};
  const causes = Object.entries({ ring_full: lost, ...dropped }).filter(([, count]) => count > 0);
  const gone = causes.reduce((sum, [, count]) => sum + count, 0);
  const allLimited = limited + limitedLater;
  const known = allLimited + folded + held + delivered + pending + gone;
  return {
    kind,
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
    // The number of delivered records is unknown if there is no sink.
    rest: row === undefined ? 0 : produced + recovered - known,
  };
}

/**
 * Number of consecutive readings with the same imbalance and no new records after which the records count as missing.
 * Until then, they may be in transit between two counters.
 */
const SETTLED = 4;
/**
 * Number of consecutive readings that do not balance after which records count as missing. With a steady flow of
 * events, most readings do not balance because records are in transit, but 30 consecutive ones are very unlikely.
 */
const UNSETTLED = 30;

interface Look {
  readonly rest: number;
  readonly produced: number;
  /** Number of consecutive readings with the same imbalance and no new records. */
  readonly same: number;
  /** Number of consecutive readings that do not balance. */
  readonly open: number;
}

/** Distinguishes records in transit from missing ones. */
export class Balance {
  readonly #looks = new Map<string, Look>();

  add(accounts: readonly Account[]): void {
    for (const { kind, probe, sink, rest, produced } of accounts) {
      const key = `${kind} ${probe} ${sink}`;
      const before = this.#looks.get(key);
      const isSame = before?.rest === rest && before.produced === produced;
      const same = isSame ? before.same + 1 : 1;
      const open = rest === 0 ? 0 : (before?.open ?? 0) + 1;
      this.#looks.set(key, { rest, produced, same, open });
    }
  }

  stateOf({ kind, probe, sink, rest }: Account): 'balances' | 'on its way' | 'missing' {
    if (rest === 0) return 'balances';
    const { same = 0, open = 0 } = this.#looks.get(`${kind} ${probe} ${sink}`) ?? {};
    return same >= SETTLED || open >= UNSETTLED ? 'missing' : 'on its way';
  }
}
