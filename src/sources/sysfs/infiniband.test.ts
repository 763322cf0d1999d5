import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SourceErrors } from '../errors.ts';
import { parsePortCounter, rdmaDevices, rdmaPorts, readPortCounters } from './infiniband.ts';

describe('parsePortCounter', () => {
  it('gives every number exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        expect(BigInt(parsePortCounter(`${value}\n`) ?? -1)).toBe(value);
      }),
    );
  });

  it('returns nothing for a text that is cut short, longer or not a number', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), (value, more) => {
        expect(parsePortCounter(`${value}`)).toBeUndefined();
        expect(parsePortCounter(`${value}\n${more}\n`)).toBeUndefined();
        expect(parsePortCounter(`-${value}\n`)).toBeUndefined();
      }),
    );
    for (const text of ['', '\n', ' 1\n', '1 \n', '0x1\n', '18446744073709551616\n', 'N/A (no PMA)\n']) {
      expect(parsePortCounter(text)).toBeUndefined();
    }
  });

  it('survives garbage', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        (text) => /^\d+\n$/.test(text) || parsePortCounter(text) === undefined,
      ),
    );
  });
});

describe('readPortCounters', () => {
  let sys: string;
  let errors: SourceErrors;
  let said: string[];

  beforeEach(() => {
    sys = mkdtempSync(join(tmpdir(), 'netsonde-sys-'));
    said = [];
    errors = new SourceErrors((message) => said.push(message));
  });

  afterEach(() => rmSync(sys, { recursive: true }));

  function write(path: string, text: string): void {
    const file = join(sys, 'class/infiniband', path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, text);
  }

  const read = () => {
    const { values, others } = readPortCounters(sys, 'mlx5_0', '1', (name) => name !== 'unlisted', errors);
    return { values: Object.fromEntries(values), others, errors: [...said] };
  };

  it('finds nothing if there are no devices', () => {
    expect(rdmaDevices(sys)).toEqual([]);
    expect(rdmaPorts(sys, 'mlx5_0')).toEqual([]);
    expect(read()).toEqual({ values: {}, others: [], errors: [] });
  });

  it('reads both directories, and prefers the counter of the driver', () => {
    write('mlx5_0/ports/1/counters/link_downed', '255\n');
    write('mlx5_0/ports/1/counters/symbol_error', '7\n');
    write('mlx5_0/ports/1/hw_counters/link_downed', '300\n');
    write('mlx5_0/ports/1/hw_counters/lifespan', '10\n');
    write('mlx5_0/ports/2/counters/symbol_error', '8\n');
    expect(rdmaDevices(sys)).toEqual(['mlx5_0']);
    expect(rdmaPorts(sys, 'mlx5_0')).toEqual(['1', '2']);
    expect(read()).toEqual({ values: { symbol_error: 7, link_downed: 300 }, others: [], errors: [] });
  });

  it('lists counters that were not asked for, without reading them', () => {
    write('mlx5_0/ports/1/hw_counters/unlisted', 'garbage');
    expect(read()).toEqual({ values: {}, others: ['unlisted'], errors: [] });
  });

  it('does not substitute the standard counter for an unreadable one of the driver, and counts the error', () => {
    write('mlx5_0/ports/1/counters/link_downed', '255\n');
    write('mlx5_0/ports/1/hw_counters/link_downed', '30');
    // Reading a directory fails, like a counter for which the device refuses the command.
    mkdirSync(join(sys, 'class/infiniband/mlx5_0/ports/1/counters/symbol_error'));
    const result = read();
    expect(result.values).toEqual({ link_downed: undefined, symbol_error: undefined });
    expect(result.errors).toEqual([
      expect.stringContaining('EISDIR'),
      expect.stringContaining('hw_counters/link_downed: not a counter: "30"'),
    ]);
  });

  it('accepts the answer of the kernel that there is no such counter', () => {
    write('mlx5_0/ports/1/counters/VL15_dropped', 'N/A (no PMA)\n');
    expect(read()).toEqual({ values: {}, others: [], errors: [] });
  });
});
