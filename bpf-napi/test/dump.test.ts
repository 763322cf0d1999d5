import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { fill, pair, pairsOf, readPairs } from './support/pairs.ts';

/** Returns the number of CPUs in a list such as `0-1` or `0,2-3`. */
function possibleCpus(): number {
  return readFileSync('/sys/devices/system/cpu/possible', 'utf8')
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}

/** Timeout for a busy machine. */
const PATIENT = { timeout: 30_000 };

describe('dump', () => {
  // 5000 fills the map to the last entry; 1 and 64 are smaller than a batch.
  it.each([0, 1, 64, 4999, 5000])('of %i entries in a map of 5000 equals what was written', async (count) => {
    using object = await pairsOf(5000, 3);
    expect(fill(object, count)).toBe(count);
    const expected = new Map(
      Array.from({ length: count }, (_, i) => [i * 3, [BigInt(1000 + i), i, ~i >>> 0]] as const),
    );
    expect(readPairs(object.map('pairs'))).toEqual(expected);
  });

  it('sees entries that were added and removed since the last one', async () => {
    using object = await pairsOf(8);
    const map = object.map('pairs');
    fill(object, 8);
    map.delete(u32(3));
    expect([...readPairs(map).keys()].sort()).toEqual([0, 1, 2, 4, 5, 6, 7]);
    map.update(u32(300), pair(5n, 5));
    expect(readPairs(map).get(300)?.[0]).toBe(5n);
  });

  it('of a full map that changes meanwhile has no more entries than the map, and does not fail', async () => {
    using object = await openObject('maps', ['churn']);
    object.map('pairs').resize(128);
    await object.load();
    await object.attach('churn');
    const busy = spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=1'], { stdio: 'ignore' });
    try {
      await vi.waitFor(() => expect(object.map('pairs').dump().count).toBe(128), PATIENT);
      for (let i = 0; i < 5000; i++) expect(object.map('pairs').dump().count).toBeLessThanOrEqual(128);
    } finally {
      object.close();
      busy.kill();
      await once(busy, 'exit');
    }
  });

  it('has every entry, even if there are many more than in the previous dump', async () => {
    using object = await pairsOf(16_384);
    const map = object.map('pairs');
    for (const count of [1, 256, 257, 5_000, 16_384]) {
      fill(object, count);
      expect(readPairs(map).size).toBe(count);
    }
  });

  it('of an array has every entry', async () => {
    using object = await loadObject('maps', ['fill']);
    object.map('numbers').update(u32(2), new Uint8Array(BigUint64Array.of(22n).buffer));
    const { count, view, keyAt, valueAt } = object.map('numbers').dump();
    const entries = Array.from({ length: count }, (_, i) => [
      view.getUint32(keyAt(i), true),
      view.getBigUint64(valueAt(i), true),
    ]);
    expect(entries).toEqual([
      [0, 0n],
      [1, 0n],
      [2, 22n],
      [3, 0n],
    ]);
  });

  it('of a ring is not supported', async () => {
    using object = await loadObject('ring', ['emit']);
    expect(() => object.map('records').dump()).toThrow(
      expect.objectContaining({ code: 'BPF_MAP', errno: 95, message: expect.stringContaining('not supported') }),
    );
  });

  it('needs a loaded object', async () => {
    using object = await openObject('maps', ['fill']);
    expect(() => object.map('pairs').dump()).toThrow(expect.objectContaining({ code: 'BPF_MAP' }));
  });
});

describe('per-CPU maps', () => {
  it('have a value for each possible CPU, at multiples of eight bytes', async () => {
    using object = await loadObject('maps', ['fill']);
    const runs = object.map('runs');
    expect(runs.valueBytes).toBe(8 * possibleCpus());
    for (let i = 0; i < 5; i++) fill(object, 0);
    const value = new Uint32Array(runs.valueBytes / 4);
    runs.lookup(u32(0), new Uint8Array(value.buffer));
    expect(value.filter((_, i) => i % 2 === 0).reduce((sum, each) => sum + each, 0)).toBe(5);
    expect(value.filter((_, i) => i % 2 === 1)).toEqual(new Uint32Array(possibleCpus()));
  });

  it('come whole in a dump', async () => {
    using object = await loadObject('maps', ['fill']);
    const triples = object.map('triples');
    expect(triples.valueBytes).toBe(16 * possibleCpus());
    // The last four of every sixteen bytes are padding, which the kernel fills with zeros.
    const written = Uint32Array.from({ length: triples.valueBytes / 4 }, (_, i) => (i % 4 === 3 ? 0 : i + 1));
    triples.update(u32(9), new Uint8Array(written.buffer));
    const { count, view, keyAt, valueAt } = triples.dump();
    expect(count).toBe(1);
    expect(view.getUint32(keyAt(0), true)).toBe(9);
    expect(new Uint32Array(view.buffer, valueAt(0), written.length)).toEqual(written);
  });
});
