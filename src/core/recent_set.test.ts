import { expect, it } from 'vitest';
import { RecentSet } from './recent_set.ts';

let nowMs = 0;
const make = (max = 100) => new RecentSet<string>(1_000, max, () => nowMs);

it('forgets what nobody has asked for over two periods, and keeps what is asked for', () => {
  nowMs = 0;
  const set = make();
  set.add('asked');
  set.add('left');
  for (nowMs = 500; nowMs < 5_000; nowMs += 500) {
    expect(set.has('asked')).toBe(true);
    set.add(`other ${nowMs}`);
  }
  expect(set.has('left')).toBe(false);
  expect(set.size).toBeLessThan(8);
});

it('has twice its limit at most', () => {
  nowMs = 0;
  const set = make(10);
  for (let index = 0; index < 1_000; index++) {
    set.add(String(index));
    expect(set.size).toBeLessThanOrEqual(20);
  }
  expect(set.has('999')).toBe(true);
  expect(set.has('500')).toBe(false);
});

it('keeps an element for a whole period', () => {
  nowMs = 0;
  const set = make();
  nowMs = 999;
  set.add('a');
  nowMs = 1_500;
  set.add('b');
  expect(set.has('a')).toBe(true);
});
