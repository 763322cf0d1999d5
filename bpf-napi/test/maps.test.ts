import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { fill, PAIR_BYTES, pair, pairsOf, readPairs } from './support/pairs.ts';
import { mappedMaps, openDescriptors } from './support/process_state.ts';

describe('one entry', () => {
  it('can be written, read, overwritten and deleted', async () => {
    using object = await pairsOf(64);
    const map = object.map('pairs');
    const value = new Uint8Array(PAIR_BYTES);
    expect(map.lookup(u32(7), value)).toBe(false);
    map.update(u32(7), pair(70n, 7));
    map.update(u32(7), pair(71n, 8));
    expect(map.lookup(u32(7), value)).toBe(true);
    expect(value).toEqual(pair(71n, 8));
    expect(map.delete(u32(7))).toBe(true);
    expect(map.delete(u32(7))).toBe(false);
    expect(map.lookup(u32(7), value)).toBe(false);
  });

  it('that a program wrote can be read', async () => {
    using object = await pairsOf(64, 10);
    expect(fill(object, 3)).toBe(3);
    const value = new Uint8Array(PAIR_BYTES);
    expect(object.map('pairs').lookup(u32(20), value)).toBe(true);
    expect(value).toEqual(pair(1002n, 2));
  });

  it('needs buffers that are large enough for the key and the value', async () => {
    using object = await pairsOf(64);
    const map = object.map('pairs');
    const short = expect.objectContaining({ code: 'BPF_MAP', errno: 22 });
    expect(() => map.lookup(u32(1), new Uint8Array(PAIR_BYTES - 1))).toThrow(short);
    expect(() => map.lookup(new Uint8Array(3), new Uint8Array(PAIR_BYTES))).toThrow(short);
    expect(() => map.update(u32(1), new Uint8Array(PAIR_BYTES - 1))).toThrow(short);
    expect(() => map.delete(new Uint8Array(0))).toThrow(short);
  });

  it('cannot be added to a full map', async () => {
    using object = await pairsOf(4);
    expect(fill(object, 4)).toBe(4);
    expect(() => object.map('pairs').update(u32(99), pair(1n, 1))).toThrow(
      expect.objectContaining({ code: 'BPF_MAP', operation: 'update', errno: 7 }),
    );
  });
});

describe('before the load', () => {
  it('a map gets the size that the kernel then enforces', async () => {
    using object = await pairsOf(10);
    expect(object.map('pairs').maxEntries).toBe(10);
    expect(fill(object, 1000)).toBe(10);
    expect(readPairs(object.map('pairs')).size).toBe(10);
  });

  it('a map can be set to use memory only for existing entries', async () => {
    const bytesWith = async (onDemand: boolean): Promise<number> => {
      using object = await openObject('maps', ['fill']);
      object.setVariable('key_step', 1);
      object.map('pairs').resize(100_000);
      if (onDemand) object.map('pairs').allocateOnDemand();
      await object.load();
      expect(fill(object, 3)).toBe(3);
      return Number(
        /^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${object.map('pairs').fd}`, 'utf8'))?.[1],
      );
    };
    expect(await bytesWith(true)).toBeLessThan((await bytesWith(false)) / 3);
  });

  it('a map that no program reaches can be left out', async () => {
    const mapsWith = async (wanted: boolean): Promise<number> => {
      using object = await openObject('maps', ['fill']);
      object.map('spare').create(wanted);
      await object.load();
      return openDescriptors().filter((target) => target === 'anon_inode:bpf-map').length;
    };
    expect(await mapsWith(false)).toBe((await mapsWith(true)) - 1);
  });

  it('a map that is left out cannot be used, by a program or from here', async () => {
    using spare = await openObject('maps', ['constant']);
    spare.map('spare').create(false);
    await spare.load();
    expect(() => spare.map('spare').update(u32(1), u32(1))).toThrow(expect.objectContaining({ code: 'BPF_MAP' }));
    using reached = await openObject('maps', ['fill']);
    reached.map('pairs').create(false);
    await expect(reached.load()).rejects.toMatchObject({ code: 'BPF_VERIFIER' });
  });

  it('only', async () => {
    using object = await loadObject('maps', ['fill']);
    const late = expect.objectContaining({ code: 'BPF_MAP', errno: 16 });
    expect(() => object.map('pairs').resize(128)).toThrow(late);
    expect(() => object.map('pairs').create(false)).toThrow(late);
    expect(object.map('pairs').maxEntries).toBe(64);
  });
});

describe('readMapped', () => {
  it('copies data that a program wrote, repeatedly', async () => {
    using object = await loadObject('maps', ['fill']);
    const rows = object.map('rows');
    const target = new Uint8Array(3 * PAIR_BYTES);
    rows.readMapped(target, 3 * PAIR_BYTES);
    expect(target).toEqual(new Uint8Array(3 * PAIR_BYTES));
    fill(object, 2);
    rows.readMapped(target, 3 * PAIR_BYTES);
    expect(target).toEqual(Uint8Array.from([...pair(1000n, 0), ...pair(1001n, 1), ...new Uint8Array(PAIR_BYTES)]));
  });

  it('reaches the last byte and no further', async () => {
    using object = await loadObject('maps', ['fill']);
    const rows = object.map('rows');
    const target = new Uint8Array(512 * PAIR_BYTES + 1);
    const invalid = expect.objectContaining({ code: 'BPF_MAP', errno: 22 });
    expect(() => rows.readMapped(target, target.length)).toThrow(invalid);
    fill(object, 512);
    rows.readMapped(target, target.length - 1);
    expect(target.subarray(511 * PAIR_BYTES, 512 * PAIR_BYTES)).toEqual(pair(1511n, 511));
    expect(() => rows.readMapped(target, target.length)).toThrow(invalid);
    expect(() => rows.readMapped(new Uint8Array(8), 16)).toThrow(invalid);
  });

  it('maps the memory once, until the object is closed', async () => {
    const object = await loadObject('maps', ['fill']);
    // libbpf itself maps the memory of some maps.
    const before = mappedMaps();
    for (let i = 0; i < 3; i++) object.map('rows').readMapped(new Uint8Array(8), 8);
    expect(mappedMaps()).toBe(before + 1);
    object.close();
    expect(mappedMaps()).toBe(0);
  });

  it('needs a loaded map that was declared for it', async () => {
    using object = await openObject('maps', ['fill']);
    const failure = expect.objectContaining({ code: 'BPF_MAP' });
    expect(() => object.map('rows').readMapped(new Uint8Array(8), 8)).toThrow(failure);
    await object.load();
    expect(() => object.map('numbers').readMapped(new Uint8Array(8), 8)).toThrow(failure);
  });
});
