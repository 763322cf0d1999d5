import { describe, expect, it } from 'vitest';
import { type BpfObject, BpfRing } from '../lib/index.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { fill, pair, readPairs } from './support/pairs.ts';

const EBUSY = 16;
const EINVAL = 22;

expectNothingLeft();

/** Loads an object that shares the map `pairs` of the first object. */
async function sharing(first: BpfObject): Promise<BpfObject> {
  const object = await openObject('maps', ['fill']);
  object.map('pairs').reuse(first.map('pairs'));
  await object.load();
  return object;
}

describe('reuse', () => {
  it('makes the programs of both objects write to one map, and only to that one', async () => {
    using first = await loadObject('maps', ['fill']);
    using second = await sharing(first);
    fill(second, 3);
    expect([...readPairs(first.map('pairs')).keys()].sort()).toEqual([0, 1, 2]);
    first.map('pairs').update(u32(9), pair(9n, 9));
    expect(readPairs(second.map('pairs')).get(9)?.[0]).toBe(9n);
    const row = new Uint8Array(16);
    first.map('rows').lookup(u32(1), row);
    expect(row).toEqual(new Uint8Array(16));
  });

  it('keeps the map until both are closed, the first one first', async () => {
    const first = await loadObject('maps', ['fill']);
    fill(first, 2);
    using second = await sharing(first);
    first.close();
    expect(readPairs(second.map('pairs')).size).toBe(2);
    expect(fill(second, 5)).toBe(5);
    expect(readPairs(second.map('pairs')).size).toBe(5);
    using third = await sharing(second);
    second.close();
    expect(readPairs(third.map('pairs')).size).toBe(5);
  });

  it('keeps the map until both are closed, the second one first', async () => {
    using first = await loadObject('maps', ['fill']);
    const second = await sharing(first);
    fill(second, 4);
    second.close();
    expect(readPairs(first.map('pairs')).size).toBe(4);
  });

  it('takes over the number of entries', async () => {
    using first = await openObject('maps', ['fill']);
    first.map('pairs').resize(4);
    await first.load();
    using second = await sharing(first);
    expect(second.map('pairs').maxEntries).toBe(4);
    expect(fill(second, 10)).toBe(4);
    expect(second.map('pairs').dump().count).toBe(4);
  });

  it('the last call of reuse wins', async () => {
    using first = await loadObject('maps', ['fill']);
    using second = await loadObject('maps', ['fill']);
    using third = await openObject('maps', ['fill']);
    third.map('pairs').reuse(first.map('pairs'));
    third.map('pairs').reuse(second.map('pairs'));
    await third.load();
    fill(third, 2);
    expect([first, second].map((object) => readPairs(object.map('pairs')).size)).toEqual([0, 2]);
  });

  it('lets programs of two objects write to one ring', async () => {
    using first = await loadObject('ring', ['emit']);
    using second = await openObject('ring', ['emit']);
    second.map('records').reuse(first.map('records'));
    await second.load();
    const bytes: number[] = [];
    using ring = new BpfRing(first, 'records', {
      recordBytesMax: 256,
      intervalMs: 60_000,
      bufferBytes: 4096,
      onBatch: ({ forEach }) => forEach((_at, length) => bytes.push(length)),
      onError: (error) => {
        throw error;
      },
    });
    first.run('emit', BigUint64Array.of(1n, 16n));
    second.run('emit', BigUint64Array.of(1n, 24n));
    ring.drain();
    expect(bytes).toEqual([16, 24]);
  });

  it('has no effect if the object is closed before its load', async () => {
    using first = await loadObject('maps', ['fill']);
    using second = await openObject('maps', ['fill']);
    second.map('pairs').reuse(first.map('pairs'));
    second.close();
    expect(fill(first, 2)).toBe(2);
  });
});

describe('reuse refuses', () => {
  it('a call after the load, even after a failed one', async () => {
    using first = await loadObject('maps', ['fill']);
    using second = await loadObject('maps', ['fill']);
    const late = expect.objectContaining({ code: 'BPF_MAP', operation: 'reuse', subject: 'pairs', errno: EBUSY });
    expect(() => second.map('pairs').reuse(first.map('pairs'))).toThrow(late);
    using failed = await openObject('maps', ['fill']);
    failed.map('pairs').create(false);
    await expect(failed.load()).rejects.toMatchObject({ code: 'BPF_VERIFIER' });
    expect(() => failed.map('pairs').reuse(first.map('pairs'))).toThrow(late);
  });

  it('a map that is not loaded, or whose object is closed', async () => {
    const first = await openObject('maps', ['fill']);
    using second = await openObject('maps', ['fill']);
    const reuse = () => second.map('pairs').reuse(first.map('pairs'));
    expect(reuse).toThrow(
      expect.objectContaining({ code: 'BPF_MAP', message: expect.stringContaining('other object is not loaded') }),
    );
    first.close();
    expect(reuse).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });

  it.each([
    ['of another type', 'hashed', 'the type is 1 but 2 in the other map'],
    ['with values of another size', 'narrow', 'the size of a value is 4 but 8 in the other map'],
    ['with longer values', 'wide', 'the size of a value is 16 but 8 in the other map'],
  ])('a map %s', async (_what, name, message) => {
    using first = await loadObject('maps', ['fill']);
    using second = await openObject('parser', ['parse']);
    expect(() => second.map(name).reuse(first.map('numbers'))).toThrow(
      expect.objectContaining({
        code: 'BPF_MAP',
        subject: name,
        errno: EINVAL,
        message: expect.stringContaining(message),
      }),
    );
    second.map('counts').reuse(first.map('numbers'));
    await second.load();
  });
});
