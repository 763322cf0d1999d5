import { expect, it } from 'vitest';
import { lastOfEach } from './fair_share.ts';

const keep = (items: string, max: number) =>
  lastOfEach([...[...items].entries()], ([, owner]) => owner, max).map(([index]) => index);

it('keeps all items if there is room, and the newest ones of a single owner', () => {
  expect(keep('aba', 3)).toEqual([0, 1, 2]);
  expect(keep('aaaaa', 2)).toEqual([3, 4]);
  expect(keep('ab', 0)).toEqual([]);
});

it('keeps the items of quiet owners, and divides what they leave among the others', () => {
  expect(keep('cbaaaaabbbb', 7)).toEqual([0, 4, 5, 6, 8, 9, 10]);
});
