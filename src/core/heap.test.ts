import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { MemoryWatch } from './heap.ts';

const looks = (...megabytes: number[]) => {
  const watch = new MemoryWatch();
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

it('still memory and memory that changes a little is left alone', () => {
  expect(looks(...Array.from({ length: 300 }, (_, index) => 100 + (index % 5)))).toEqual([]);
  expect(looks(150, 140, 130, 120, 110, 100, 104, 100, 104)).toEqual([]);
});

it('memory that has grown slowly is returned, at most every sixty looks', () => {
  const slow = (perLook: number) => looks(...Array.from({ length: 200 }, (_, index) => 100 + perLook * index));
  // 100 MB have become more than 110 MB; then 115 MB have become more than 126.5 MB.
  expect(slow(0.15)).toEqual([67, 142]);
  expect(slow(2)).toEqual([60, 121, 182]);
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
