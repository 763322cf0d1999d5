import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { KnownUids } from './known_uids.ts';

it('UIDs that a list does not contain are found, also those that a stream has added', () => {
  const known = new KnownUids();
  const uids = Array.from({ length: 40 }, () => randomUUID());
  for (const uid of uids) known.add(uid, true);
  const streamed = randomUUID();
  known.add(streamed, false);
  known.begin();
  for (const uid of uids.slice(0, 30)) {
    known.add(uid, true);
    known.add(uid, true);
  }
  expect([known.size, known.listed]).toEqual([41, 30]);
  expect([...known.unlisted()].sort()).toEqual([...uids.slice(30), streamed].sort());
  for (const uid of known.unlisted()) expect(known.delete(uid)).toBe(true);
  expect([known.size, known.has(streamed), known.delete(streamed)]).toEqual([30, false, false]);
  known.begin();
  expect([known.listed, [...known.unlisted()].length]).toEqual([0, 30]);
});
