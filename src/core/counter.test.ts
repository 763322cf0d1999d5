import { describe, expect, it } from 'vitest';
import { addCounters, multiplyCounter, notNegative, readCounter, subtractCounters, toCounter } from './counter.ts';

function u64(value: bigint): DataView {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return view;
}

describe('readCounter', () => {
  it.each([0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n])('gives %s as a number', (value) => {
    expect(readCounter(u64(value), 0)).toBe(Number(value));
  });

  it.each([2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n])('gives %s as a bigint, exactly', (value) => {
    expect(readCounter(u64(value), 0)).toBe(value);
  });
});

describe('addCounters', () => {
  it('stays exact beyond the safe integers', () => {
    expect(addCounters(Number.MAX_SAFE_INTEGER, 2)).toBe(2n ** 53n + 1n);
  });

  it('wraps at 64 bits, as the kernel does', () => {
    expect(addCounters(2n ** 64n - 1n, 2)).toBe(1);
  });

  it('adds seconds', () => {
    expect(addCounters(0.5, 0.25)).toBe(0.75);
    expect(addCounters(0.5, 3)).toBe(3.5);
  });
});

it('subtractCounters returns the exact growth', () => {
  expect(subtractCounters(7, 3)).toBe(4);
  expect(subtractCounters(2n ** 53n + 1n, Number.MAX_SAFE_INTEGER)).toBe(2);
  expect(subtractCounters(2n ** 63n, 1)).toBe(2n ** 63n - 1n);
  expect(subtractCounters(1.5, 0.5)).toBe(1);
});

it.each([
  [0, 0],
  [250, 1000],
  [2 ** 51, 2n ** 53n],
  [2n ** 64n - 1n, 2n ** 66n - 4n],
])('four times %s is exactly %s', (value, product) => expect(multiplyCounter(value, 4)).toBe(product));

it('turns a negative gauge into zero', () => {
  expect(notNegative(toCounter(2n ** 64n - 1n))).toBe(0);
  expect(notNegative(7)).toBe(7);
});
