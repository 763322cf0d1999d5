import { expect, it } from 'vitest';
import { GROWABLE_MAX, growable, reserve } from './growable.ts';

it('an array keeps its values while it grows in place, up to a maximum', () => {
  const array = growable(Float64Array);
  const { buffer } = array;
  for (let length = 1; length <= GROWABLE_MAX; length *= 4) {
    reserve(array, length);
    expect(array.length).toBeGreaterThanOrEqual(length);
    expect(array[length - 1]).toBe(0);
    array[length - 1] = length;
  }
  expect([array[0], array[3], array[15], array.buffer === buffer]).toEqual([1, 4, 16, true]);
  expect(() => reserve(array, GROWABLE_MAX + 1)).toThrow(RangeError);
});
