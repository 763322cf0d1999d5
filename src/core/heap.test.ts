import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { BurstWatch } from './heap.ts';

const looks = (...megabytes: number[]) => {
  const watch = new BurstWatch();
  return megabytes.flatMap((resident, index) => (watch.look(resident) ? [index] : []));
};

it('the end of a burst is reported once, when memory is still', () => {
  expect(looks(100, 100, 130, 180, 181, 181, 181, 181, 181)).toEqual([5]);
});

it('a burst over several looks is one, and so is one that has only begun to fall', () => {
  expect(looks(100, 104, 108, 112, 112, 112)).toEqual([5]);
  expect(looks(100, 150, 120, 119, 118)).toEqual([3]);
});

it('the next burst is reported again', () => {
  expect(looks(100, 150, 150, 150, 100, 100, 150, 150, 150)).toEqual([3, 8]);
});

it('neither still memory nor slow growth is a burst', () => {
  expect(looks(...Array.from({ length: 100 }, (_, index) => 100 * 1.02 ** index))).toEqual([]);
  expect(looks(150, 140, 130, 120, 110, 100, 104, 100, 104)).toEqual([]);
});

/**
 * Program that fills the heap, frees its content, and returns the memory to the kernel. It prints the resident bytes
 * before and after.
 */
const FILLED = `
import { giveBackMemory } from '${fileURLToPath(new URL('./heap.ts', import.meta.url))}';
let kept = Array.from({ length: 600_000 }, (_, at) => ({ at, text: 'x' + at }));
const full = process.memoryUsage.rss();
kept = undefined;
giveBackMemory();
process.stdout.write(full + ' ' + process.memoryUsage.rss());
`;

it('memory that V8 has freed goes back to the kernel, by the flags of the agent', () => {
  const script = readFileSync(new URL('../../bin/netsonde', import.meta.url), 'utf8');
  const flags = /^exec "\$node" (--[^"]+) "\$root/m.exec(script)?.[1]?.split(/[\s\\]+/) ?? [];
  const after = (isMeant: (flag: string) => boolean) => {
    const args = [...flags.filter(isMeant), '--input-type=module-typescript', '--eval', FILLED];
    const [full = 0, left = 0] = execFileSync(process.execPath, args, { encoding: 'utf8' }).split(' ').map(Number);
    return left / full;
  };
  expect(after(() => true)).toBeLessThan(0.8);
  expect(after((flag) => flag !== '--expose-gc')).toBeGreaterThan(0.9);
});
