import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { prepare, rewrite, swap, toggle } from '../support/toggle.ts';

const TIMES = 50;

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
      const { slowestMs } = await toggle(pair, directory, write, TIMES);
      expect(slowestMs).toBeGreaterThan(0);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  120_000,
);
