import { describe, expect, it } from 'vitest';
import type { LedgerReport } from '#api/ledger.ts';
import { accountsOf, Balance } from './ledger.ts';

describe('the ledger', () => {
  const report = (produced: number): LedgerReport => ({
    probes: [
      {
        kind: 'event',
        probe: 'a',
        stage: 'kernel',
        produced,
        limited: 10,
        lost: 5,
        limitedLater: 3,
        folded: 2,
        held: 1,
      },
      {
        kind: 'event',
        probe: 'b',
        stage: 'agent',
        produced: 0,
        limited: 0,
        lost: 0,
        limitedLater: 0,
        folded: 0,
        held: 0,
      },
    ],
    sinks: [
      { kind: 'event', probe: 'a', sink: 'stdout', delivered: 79, pending: 0, recovered: 0, dropped: {} },
      {
        kind: 'event',
        probe: 'a',
        sink: 'loki',
        delivered: 40,
        pending: 32,
        recovered: 2,
        dropped: { rejected: 9, queue_full: 0 },
      },
    ],
  });

  it('balances for each sink', () => {
    const accounts = accountsOf(report(100));
    expect(accounts.map(({ sink, rest }) => [sink, rest])).toEqual([
      ['stdout', 0],
      ['loki', 0],
    ]);
    expect(accounts[0]).toMatchObject({ probe: 'a', limited: 13, dropped: [['ring_full', 5]] });
    expect(accounts[1]?.dropped).toEqual([
      ['ring_full', 5],
      ['rejected', 9],
    ]);
  });

  const statesOf = (looks: readonly (readonly [produced: number, delivered: number])[]) => {
    const balance = new Balance();
    return looks.map(([produced, delivered]) => {
      const { probes, sinks } = report(produced);
      const accounts = accountsOf({ probes, sinks: sinks.slice(0, 1).map((row) => ({ ...row, delivered })) });
      balance.add(accounts);
      return accounts[0] && balance.stateOf(accounts[0]);
    });
  };

  it('distinguishes events on their way from missing ones when all is quiet', () => {
    const quiet = [103, 104, 104, 104, 104, 100].map((produced) => [produced, 79] as const);
    expect(statesOf(quiet)).toEqual(['on its way', 'on its way', 'on its way', 'on its way', 'missing', 'balances']);
  });

  it('and while events start and end', () => {
    const storm = (rest: number) => Array.from({ length: 30 }, (_, at) => [100 + at + rest, 79 + at] as const);
    expect(statesOf(storm(1)).slice(0, -1)).not.toContain('missing');
    expect(statesOf(storm(1)).at(-1)).toBe('missing');
    expect(statesOf([...storm(1).slice(0, 20), ...storm(0).slice(20, 21), ...storm(2).slice(1, 22)])).not.toContain(
      'missing',
    );
  });

  it('has no balance without a sink', () => {
    expect(accountsOf({ ...report(100), sinks: [] })).toEqual([
      expect.objectContaining({ kind: 'event', probe: 'a', sink: '', produced: 100, rest: 0 }),
    ]);
  });
});
