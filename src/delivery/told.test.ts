import { expect, it } from 'vitest';
import { Told } from './told.ts';

const limited = (user: string, lines: number, bytes: number) =>
  `it returned 429: Ingestion rate limit exceeded for user ${user} (limit: 1000 bytes/sec) while attempting to ingest '${lines}' lines totaling '${bytes}' bytes`;

it('a kind of failure is logged once, whatever its numbers, names and streams', () => {
  const told = new Told(() => 0);
  const both = (one: string, other: string) => [told.isNew(one), told.isNew(other)];
  expect(both(limited('a', 1, 20), limited('a', 30, 4_000))).toEqual([true, false]);
  const stream = (name: string) => `it returned 429: Per stream rate limit exceeded for stream '{pod="${name}"}'`;
  expect(both(stream('a'), stream('b'))).toEqual([true, false]);
  expect(both('entry at 2026-01-01T00:00:00Z is late', 'entry at 2026-02-03T04:05:06.7Z is late')).toEqual([
    true,
    false,
  ]);
  expect(both('connect ECONNREFUSED 10.0.0.1:3100', 'connect ECONNREFUSED [fd00::1]:3100')).toEqual([true, true]);
  expect(both('it returned 500', 'it returned 502')).toEqual([true, true]);
  expect(both('it returned 500', 'it returned 502: no')).toEqual([false, true]);
});

it('is logged again after a minute without failure, and not while it continues', () => {
  let nowMs = 0;
  const told = new Told(() => nowMs);
  const after = (ms: number, goesOn: boolean) => {
    nowMs += ms;
    return told.isNew('no room', goesOn);
  };
  expect([after(0, false), after(300_000, true), after(30_000, false), after(61_000, false)]).toEqual([
    true,
    false,
    false,
    true,
  ]);
});

it('remembers a bounded number of kinds', () => {
  const told = new Told(() => 0);
  const word = (index: number) => String.fromCodePoint(...[...String(index)].map((digit) => 97 + Number(digit)));
  const news = Array.from({ length: 1_000 }, (_, index) => told.isNew(word(index)));
  expect(news.filter(Boolean)).toHaveLength(100);
});
