import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { ownerKey, SharedRoom } from './shared_room.ts';

const idsOf = (room: SharedRoom<string>) => [...room.entries()].map(([id]) => Number(id));

it('the owner with the most entries loses its oldest', () => {
  const room = new SharedRoom<string>(4);
  room.set(asNetnsId(1), 'cart', 'a');
  for (let id = 10; id < 30; id++) room.set(asNetnsId(id), 'flood', 'b');
  room.set(asNetnsId(2), 'db', 'c');
  expect(idsOf(room)).toEqual([1, 28, 29, 2]);
  expect([room.get(asNetnsId(1)), room.has(asNetnsId(27)), room.size]).toEqual(['a', false, 4]);
});

it('among owners with equally many, the one that came first loses one', () => {
  const room = new SharedRoom<string>(2);
  expect([1, 2, 3].map((id) => room.set(asNetnsId(id), `pod ${id}`, ''))).toEqual([false, false, true]);
  expect(idsOf(room)).toEqual([2, 3]);
});

it('a namespace that passes to another owner is no longer the first one’s', () => {
  const room = new SharedRoom<string>(3);
  room.set(asNetnsId(1), 'cart', 'a');
  room.set(asNetnsId(2), 'cart', 'b');
  room.set(asNetnsId(2), 'db', 'c');
  room.set(asNetnsId(3), 'db', 'd');
  room.set(asNetnsId(4), 'web', 'e');
  expect(idsOf(room)).toEqual([1, 3, 4]);
});

it('namespaces that only processes name have one common owner', () => {
  const entity = (kind: 'process' | 'netns' | 'pod', uid: string, netns: number) => ({
    kind,
    uid,
    netns: asNetnsId(netns),
  });
  expect(ownerKey(entity('process', '', 1))).toBe(ownerKey(entity('process', '', 2)));
  expect(ownerKey(entity('netns', '', 1))).not.toBe(ownerKey(entity('netns', '', 2)));
  expect(ownerKey(entity('pod', 'u', 1))).toBe(ownerKey(entity('pod', 'u', 2)));
});
