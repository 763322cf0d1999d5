import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { Retired } from './retired.ts';

function entity(id: number): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: '', pod: `pod${id}`, uid: `${id}`, labels: {} };
}

it('keeps those that are held past their time', () => {
  const retired = new Retired(4);
  retired.add(entity(1), 10);
  retired.add(entity(2), 10);
  expect(retired.expire(20, (id) => id === asNetnsId(1))).toBe(true);
  expect(retired.entities.map(({ pod }) => pod)).toEqual(['pod1']);
  expect(retired.expire(30)).toBe(true);
  expect(retired.size).toBe(0);
});

it('lets go of each when its time is over', () => {
  const retired = new Retired(10);
  retired.add(entity(1), 100);
  retired.add(entity(2), 200);
  expect(retired.expire(99)).toBe(false);
  expect(retired.entities.map(({ pod, isRetired }) => [pod, isRetired])).toEqual([
    ['pod1', true],
    ['pod2', true],
  ]);
  expect(retired.expire(100)).toBe(true);
  expect(retired.has(asNetnsId(1))).toBe(false);
  expect(retired.has(asNetnsId(2))).toBe(true);
  expect(retired.dropped).toBe(0);
});

it('has room for so many, and counts those that it drops, the first first', () => {
  const retired = new Retired(3);
  for (let id = 1; id <= 10; id++) retired.add(entity(id), 100);
  expect(retired.entities.map(({ pod }) => pod)).toEqual(['pod8', 'pod9', 'pod10']);
  expect(retired.dropped).toBe(7);
  retired.delete(asNetnsId(9));
  expect(retired.size).toBe(2);
});
