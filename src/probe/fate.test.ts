import { expect, it } from 'vitest';
import { asNetnsId, UNLISTED } from '#core/netns.ts';
import { fateOf, isForgotten } from './fate.ts';

const [HOME, MADE, NOBODYS, GONE, YOUNG] = [1, 2, 3, 4, 5].map(asNetnsId) as [never, never, never, never, never];

const OWNERS = {
  homeOf: (id: number | bigint) => asNetnsId(id === MADE ? HOME : id),
  hasDeparted: (id: number | bigint) => id === GONE,
  wasOwned: (id: number | bigint) => [HOME, MADE, GONE].includes(id as never),
  isUnowned: (id: number | bigint) => id === NOBODYS,
};

it('a namespace is shown under its home, under all others without an owner, or not yet, or no more', () => {
  expect([HOME, MADE, NOBODYS, GONE, YOUNG, UNLISTED].map((id) => fateOf(OWNERS, id))).toEqual([
    HOME,
    HOME,
    UNLISTED,
    'departed',
    'waiting',
    UNLISTED,
  ]);
});

it('an owner is forgotten if its namespace is neither alive nor remembered', () => {
  const gone = asNetnsId(6);
  const all = [HOME, MADE, NOBODYS, GONE, gone, UNLISTED];
  expect(all.filter((id) => isForgotten(OWNERS, id))).toEqual([gone]);
});
