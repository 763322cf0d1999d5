import { describe, expect, it } from 'vitest';
import { KEY_WORDS, KeyTable } from './key_table.ts';

/** Returns a generator of pseudo-random integers below a limit. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

function put(table: KeyTable, nth: number): void {
  table.key.set([0, 0, 0xffff, nth]);
}

describe('a table of keys', () => {
  it.each([1, 2, 3])('behaves like a map while keys come and go (seed %i)', (seed) => {
    const table = new KeyTable(seed);
    const model = new Map<number, number>();
    const pick = numbers(seed);
    for (let step = 0; step < 20_000; step++) {
      const nth = pick(600);
      put(table, nth);
      expect(table.find()).toBe(model.get(nth) ?? -1);
      if (pick(2) === 0) {
        const index = table.add();
        expect(index).toBe(model.get(nth) ?? index);
        model.set(nth, index);
      } else {
        const index = model.get(nth);
        if (index !== undefined) table.delete(index);
        model.delete(nth);
      }
      expect(table.size).toBe(model.size);
    }
    expect(new Set(model.values()).size).toBe(model.size);
    for (const [nth, index] of model) {
      const words = new Uint32Array(KEY_WORDS);
      table.read(index, words);
      expect([...words]).toEqual([0, 0, 0xffff, nth]);
    }
  });

  it('assigns the index of a deleted key again, so that it does not grow', () => {
    const table = new KeyTable();
    for (let nth = 0; nth < 10_000; nth++) {
      put(table, nth);
      table.add();
      put(table, nth - 10);
      const old = table.find();
      if (old >= 0) table.delete(old);
    }
    expect([table.size, table.end]).toEqual([10, 11]);
  });

  it('distinguishes keys that differ in one word', () => {
    const table = new KeyTable();
    const indexes = [0, 1, 2, 3].map((word) => {
      table.key.fill(7);
      table.key[word] = 8;
      return table.add();
    });
    expect(new Set(indexes).size).toBe(4);
  });
});
