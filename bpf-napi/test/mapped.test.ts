import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { BpfMap } from '../lib/index.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { fill, PAIR_BYTES, pair } from './support/pairs.ts';
import { mappedMaps } from './support/process_state.ts';

const ROWS_BYTES = 512 * PAIR_BYTES;
const EINVAL = 22;

expectNothingLeft();

function bytesOf(map: BpfMap, bytes: number): Uint8Array {
  const target = new Uint8Array(bytes);
  map.readMapped(target, bytes);
  return target;
}

describe('writeMapped', () => {
  it('writes data that programs, look-ups and readMapped can read', async () => {
    using object = await loadObject('maps', ['fill']);
    const rows = object.map('rows');
    rows.writeMapped(2 * PAIR_BYTES, pair(7n, 8));
    const value = new Uint8Array(PAIR_BYTES);
    rows.lookup(u32(2), value);
    expect(value).toEqual(pair(7n, 8));
    expect(bytesOf(rows, 3 * PAIR_BYTES).subarray(2 * PAIR_BYTES)).toEqual(pair(7n, 8));
    fill(object, 3);
    expect(bytesOf(rows, 3 * PAIR_BYTES).subarray(2 * PAIR_BYTES)).toEqual(pair(1002n, 2));
  });

  it('writes every length at every offset, and nothing beside it', async () => {
    using object = await loadObject('maps', ['fill']);
    const rows = object.map('rows');
    for (let offset = 0; offset < 16; offset++) {
      for (let length = 0; length <= 24; length++) {
        rows.writeMapped(0, new Uint8Array(48).fill(0xee));
        const bytes = Uint8Array.from({ length }, (_, i) => i + 1);
        rows.writeMapped(offset, bytes);
        const expected = new Uint8Array(48).fill(0xee);
        expected.set(bytes, offset);
        expect(bytesOf(rows, 48)).toEqual(expected);
      }
    }
  });

  it('takes a part of a larger buffer', async () => {
    using object = await loadObject('maps', ['fill']);
    const whole = Uint8Array.from({ length: 32 }, (_, i) => i);
    object.map('rows').writeMapped(0, whole.subarray(3, 19));
    expect(bytesOf(object.map('rows'), 17)).toEqual(Uint8Array.from([...whole.subarray(3, 19), 0]));
  });

  it('does not tear words that a program reads concurrently on another CPU', async () => {
    using object = await loadObject('maps', ['watch_row']);
    const rows = object.map('rows');
    const numbers = new BigUint64Array(1);
    const number = (index: number) => {
      object.map('numbers').lookup(u32(index), new Uint8Array(numbers.buffer));
      return numbers[0] ?? 0n;
    };
    await object.attach('watch_row');
    const busy = spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=1'], { stdio: 'ignore' });
    const values = Array.from({ length: 256 }, (_, byte) => new Uint8Array(PAIR_BYTES).fill(byte));
    try {
      // Writes a whole pair, then only its last word, and then only its first word.
      while (number(1) < 500n) {
        for (const value of values) {
          rows.writeMapped(0, value);
          rows.writeMapped(12, value.subarray(0, 4));
          rows.writeMapped(0, value.subarray(0, 8));
        }
      }
    } finally {
      object.detach();
      busy.kill();
      await once(busy, 'exit');
    }
    expect(number(0)).toBe(0n);
  });

  it('reaches the last byte and no further', async () => {
    using object = await loadObject('maps', ['fill']);
    const rows = object.map('rows');
    rows.writeMapped(ROWS_BYTES - 3, Uint8Array.of(1, 2, 3));
    rows.writeMapped(ROWS_BYTES, new Uint8Array(0));
    expect(bytesOf(rows, ROWS_BYTES).subarray(-4)).toEqual(Uint8Array.of(0, 1, 2, 3));
    for (const [offset, length] of [
      [ROWS_BYTES - 3, 4],
      [ROWS_BYTES, 1],
      [ROWS_BYTES + 1, 0],
      [0, ROWS_BYTES + 1],
      [-1, 1],
      [2 ** 53 - 1, 1],
    ] as const) {
      expect(() => rows.writeMapped(offset, new Uint8Array(length).fill(9))).toThrow(
        expect.objectContaining({ code: 'BPF_MAP', operation: 'write', subject: 'rows', errno: EINVAL }),
      );
    }
    expect(bytesOf(rows, ROWS_BYTES).subarray(-4)).toEqual(Uint8Array.of(0, 1, 2, 3));
  });

  it('maps the memory once, until the object is closed', async () => {
    const object = await loadObject('maps', ['fill']);
    const before = mappedMaps();
    for (let i = 0; i < 3; i++) object.map('rows').writeMapped(0, new Uint8Array(8));
    expect(mappedMaps()).toBe(before + 1);
    object.close();
    expect(mappedMaps()).toBe(0);
  });

  it('needs a loaded map that was declared for it, and that is not constant', async () => {
    using object = await openObject('maps', ['fill']);
    const failure = expect.objectContaining({ code: 'BPF_MAP', operation: 'write' });
    expect(() => object.map('rows').writeMapped(0, new Uint8Array(8))).toThrow(failure);
    await object.load();
    expect(() => object.map('numbers').writeMapped(0, new Uint8Array(8))).toThrow(failure);
    const constants = [...object.maps.keys()].find((name) => name.endsWith('.rodata')) ?? '';
    expect(() => object.map(constants).writeMapped(0, new Uint8Array(8))).toThrow(failure);
  });

  it('writes to a map that another object shares', async () => {
    using first = await loadObject('maps', ['fill']);
    using second = await openObject('maps', ['fill']);
    second.map('rows').reuse(first.map('rows'));
    await second.load();
    second.map('rows').writeMapped(0, pair(5n, 6));
    expect(bytesOf(first.map('rows'), PAIR_BYTES)).toEqual(pair(5n, 6));
  });
});
