import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { APPLIED_WITHIN_MS } from '../support/soak.ts';
import { prepare, rewrite, swap, toggle } from '../support/toggle.ts';

const TIMES = 1_000;
const WARM = 100;
const HEAP_GROWTH_MAX = 2 * 1024 * 1024;

let pair: HostPair;

beforeAll(async () => {
  pair = await HostPair.create();
  prepare(pair);
});

afterAll(() => pair[Symbol.asyncDispose]());

it.each([
  ['the file is rewritten', rewrite],
  ['..data is swapped', swap],
])(
  `${TIMES} toggles, each applied within a second, leave nothing behind when %s`,
  async (_, write) => {
    const directory = mkdtempSync(join(tmpdir(), 'toggle-'));
    try {
      const { heap, slowestMs } = await toggle(pair, directory, write, TIMES, [WARM, TIMES / 2, TIMES]);
      process.stdout.write(`slowest ${Math.round(slowestMs)} ms, heap after gc ${JSON.stringify([...heap])}\n`);
      expect(slowestMs).toBeLessThan(APPLIED_WITHIN_MS);
      expect((heap.get(TIMES) ?? Number.NaN) - (heap.get(WARM) ?? 0)).toBeLessThan(HEAP_GROWTH_MAX);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  1_200_000,
);
