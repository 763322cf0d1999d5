import { beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { ConntrackRow } from '#sources/conntrack/snapshot.ts';
import { describePressure, PressureWatch } from './conntrack_pressure.ts';

const A = asNetnsId(1);
const B = asNetnsId(2);
const LIMIT = 1_000;

let watch: PressureWatch;
beforeEach(() => {
  watch = new PressureWatch(0.9);
});

function row(id: typeof A, entries: number, counters: ConntrackRow['counters'] = {}): ConntrackRow {
  return { id, entries, counters };
}

/** Evaluates these rows at the given second. All namespaces in the rows are known. */
function look(seconds: number, ...rows: readonly ConntrackRow[]) {
  return watch.look({ rows, limit: LIMIT }, new Set(rows.map(({ id }) => id)), seconds * 1_000);
}

const NOTHING = { pressures: [], limited: 0 };
const none = { insertFailed: 0, drop: 0, earlyDrop: 0 };

describe('a table that fills up', () => {
  it('is reported from the threshold on, at the first look already', () => {
    expect(look(0, row(A, 899))).toEqual(NOTHING);
    expect(look(10, row(A, 900)).pressures).toEqual([
      { netns: A, entries: 900, limit: LIMIT, failures: none, seconds: 10 },
    ]);
    expect(new PressureWatch(0.5).look({ rows: [row(B, 500)], limit: LIMIT }, new Set([B]), 0).pressures).toHaveLength(
      1,
    );
  });

  it('is never full if there is no limit, or the limit is unknown', () => {
    for (const limit of [0, undefined]) {
      expect(watch.look({ rows: [row(A, 10 ** 9)], limit }, new Set([A]), 0)).toEqual(NOTHING);
    }
  });

  it('is reported at most once a minute even if it comes and goes', () => {
    const reported = [950, 950, 10, 950, 950, 950, 950, 950].map((entries, index) => {
      const { pressures, limited } = look(index * 10, row(A, entries));
      return `${pressures.length}/${limited}`;
    });
    expect(reported).toEqual(['1/0', '0/1', '0/0', '0/1', '0/1', '0/1', '1/0', '0/1']);
  });
});

describe('failures', () => {
  it('before the first look are not reported', () => {
    expect(look(0, row(A, 5, { drop: 7, insertFailed: 7 }))).toEqual(NOTHING);
    expect(look(10, row(A, 5, { drop: 7, insertFailed: 7 }))).toEqual(NOTHING);
  });

  it('are reported with their increase, for each namespace separately', () => {
    look(0, row(A, 5, { drop: 1 }), row(B, 5, { drop: 1 }));
    const { pressures } = look(10, row(A, 6, { drop: 1 }), row(B, 7, { drop: 3, insertFailed: 2, earlyDrop: 1 }));
    expect(pressures).toEqual([
      { netns: B, entries: 7, limit: LIMIT, failures: { insertFailed: 2, drop: 2, earlyDrop: 1 }, seconds: 10 },
    ]);
  });

  it('held back are in the next report, and none is in two', () => {
    const counts = [0, 1, 3, 6, 6, 6, 6, 6, 10];
    const looks = counts.map((drop, index) => look(index * 10, row(A, 5, { drop })));
    expect(looks.map(({ pressures }) => pressures[0]?.failures.drop)).toEqual([
      undefined,
      1,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      5,
      undefined,
    ]);
    expect(looks.map(({ limited }) => limited)).toEqual([0, 0, 1, 1, 1, 1, 1, 0, 1]);
    expect(looks[7]?.pressures[0]?.seconds).toBe(60);
  });

  it('of a new namespace are all reported, those of one that was unreadable for a while are not', () => {
    look(0);
    expect(look(10, row(A, 1, { insertFailed: 4 })).pressures[0]).toMatchObject({
      failures: { insertFailed: 4 },
      seconds: 10,
    });
    watch.look({ rows: [], limit: LIMIT }, new Set([A, B]), 20_000);
    expect(look(30, row(B, 1, { insertFailed: 4 }))).toEqual(NOTHING);
  });

  it('of an unowned namespace are not reported', () => {
    const rows = [row(A, 1, { drop: 4 })];
    expect(watch.look({ rows, limit: LIMIT }, new Set(), 0)).toEqual(NOTHING);
    expect(watch.look({ rows, limit: LIMIT }, new Set(), 10_000)).toEqual(NOTHING);
  });

  it('are none if a 32-bit counter has wrapped, and are counted from there on', () => {
    look(0, row(A, 5, { drop: 2 ** 32 - 1 }));
    expect(look(10, row(A, 5, { drop: 3 }))).toEqual(NOTHING);
    expect(look(20, row(A, 5, { drop: 5 })).pressures[0]?.failures.drop).toBe(2);
  });
});

it('are described in a sentence, with the limit if there is one', () => {
  const pressure = {
    netns: A,
    entries: 999,
    limit: LIMIT,
    failures: { insertFailed: 1, drop: 2, earlyDrop: 3 },
    seconds: 10,
  };
  expect(describePressure(pressure)).toBe(
    'Connections could not be tracked: in the last 10 s, 1 could not be added to the table, 2 packets were dropped as a result, and 3 older connections were evicted to free space. The table holds 999 of at most 1000 connections (99 %).',
  );
  expect(describePressure({ ...pressure, limit: 0 })).toContain('The table holds 999 connections.');
  expect(describePressure({ ...pressure, failures: none })).toBe(
    'The connection tracking table is nearly full: it holds 999 of at most 1000 connections (99 %). When it is full, packets of new connections will be dropped.',
  );
});
