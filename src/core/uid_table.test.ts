import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { UidTable } from './uid_table.ts';

it('UIDs are found again, and restored exactly, whether or not they are UUIDs', () => {
  const table = new UidTable();
  const uuid = randomUUID();
  const uids = [uuid, uuid.toUpperCase().replace(/[^A-F]/, 'A'), '', 'node-1', `${uuid}0`, uuid.replaceAll('-', '')];
  const indexes = uids.map((uid) => table.add(uid));
  expect(new Set(indexes).size).toBe(uids.length);
  expect(uids.map((uid) => table.find(uid))).toEqual(indexes);
  expect(indexes.map((index) => table.uidAt(index))).toEqual(uids);
  for (const index of indexes) table.delete(index);
  expect([table.size, ...uids.map((uid) => table.find(uid))]).toEqual([0, ...uids.map(() => -1)]);
});
