import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpusOf, parseCpuList } from './cpus.ts';

const masks = fc.uniqueArray(fc.nat(1023), { minLength: 1, maxLength: 1024 }).map((cpus) => cpus.sort((a, b) => a - b));

/** Formats a CPU list as the kernel does (%*pbl): consecutive CPUs become ranges. */
function listOf(cpus: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const cpu of cpus) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === cpu - 1) last[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}

describe('parseCpuList', () => {
  it('reads every mask as the kernel writes it', () => {
    fc.assert(
      fc.property(masks, (cpus) => {
        expect(parseCpuList(`${listOf(cpus)}\n`)).toEqual(cpus);
      }),
    );
    for (const count of [1, 2, 3, 5, 6, 7, 12, 24, 48, 96, 128, 255, 256, 1024]) {
      expect(parseCpuList(count === 1 ? '0\n' : `0-${count - 1}\n`)).toEqual(
        Array.from({ length: count }, (_, n) => n),
      );
    }
  });

  it.each(['', '\n', 'x', '0,', '0-', '-1', '3-1', '1,1', '4,2', '0-3,2', '0-8192', '0-99999999999', '0x3', '0 1'])(
    'does not accept %j as a list',
    (text) => expect(parseCpuList(text)).toBeUndefined(),
  );

  it('returns an ascending list of possible numbers, or none, for any content of the file', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789,-\n ') }), (text) => {
        const cpus = parseCpuList(text);
        if (cpus === undefined) return;
        expect(cpus.length).toBeGreaterThan(0);
        expect(parseCpuList(listOf(cpus))).toEqual(cpus);
      }),
    );
  });
});

describe('cpusOf', () => {
  it('reads the possible CPUs once, and the online CPUs each time', () => {
    const sys = mkdtempSync(join(tmpdir(), 'netsonde-cpus-'));
    const folder = join(sys, 'devices/system/cpu');
    try {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'possible'), '0-254\n');
      writeFileSync(join(folder, 'online'), '0,2-3\n');
      const cpus = cpusOf(sys);
      expect(cpus.possible()).toHaveLength(255);
      expect(cpus.online()).toEqual([0, 2, 3]);
      writeFileSync(join(folder, 'online'), '0-11\n');
      expect(cpus.online()).toHaveLength(12);
      writeFileSync(join(folder, 'online'), '\n');
      expect(() => cpus.online()).toThrow(`${join(folder, 'online')}: no list of CPUs`);
      rmSync(join(folder, 'possible'));
      expect(() => cpusOf(sys)).toThrow('possible: no list of CPUs');
    } finally {
      rmSync(sys, { recursive: true });
    }
  });
});
