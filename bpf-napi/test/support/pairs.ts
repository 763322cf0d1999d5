import { expect } from 'vitest';
import type { BpfMap, BpfObject } from '../../lib/index.ts';
import { openObject } from './objects.ts';

export const PAIR_BYTES = 16;

/** Returns a value of the map `pairs` as the program `fill` writes it. */
export function pair(first: bigint, second: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(PAIR_BYTES));
  view.setBigUint64(0, first, true);
  view.setUint32(8, second, true);
  view.setUint32(12, ~second >>> 0, true);
  return new Uint8Array(view.buffer);
}

/** Returns the entries of a dump: the three fields of the value by key. */
export function readPairs(map: BpfMap): Map<number, [bigint, number, number]> {
  const { count, view, keyAt, valueAt } = map.dump();
  const pairs = new Map<number, [bigint, number, number]>();
  for (let i = 0; i < count; i++) {
    const at = valueAt(i);
    pairs.set(view.getUint32(keyAt(i), true), [
      view.getBigUint64(at, true),
      view.getUint32(at + 8, true),
      view.getUint32(at + 12, true),
    ]);
  }
  expect(pairs.size).toBe(count);
  return pairs;
}

/** Returns a loaded object with a map `pairs` for `entries` entries and the program `fill`. */
export async function pairsOf(entries: number, keyStep = 1): Promise<BpfObject> {
  const object = await openObject('maps', ['fill']);
  object.setVariable('key_step', keyStep);
  object.map('pairs').resize(entries);
  await object.load();
  return object;
}

/** Writes pairs with the keys 0, keyStep, 2 * keyStep and so on. Returns the number of pairs that fit. */
export function fill(object: BpfObject, count: number): number {
  return object.run('fill', BigUint64Array.of(BigInt(count)));
}
