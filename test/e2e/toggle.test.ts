import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { prepare, rewrite, swap, toggle } from '../support/toggle.ts';

/** Number of toggles. The soak test toggles more often. */
const TIMES = 8;

let pair: HostPair;

beforeAll(async () => {
  pair = await HostPair.create();
  prepare(pair);
});

afterAll(() => pair[Symbol.asyncDispose]());

it.each([
  ['the file is rewritten', rewrite],
  ['..data is swapped', swap],
])(`${TIMES} toggles are applied and leave nothing behind when %s`, async (_, write) => {
  const directory = mkdtempSync(join(tmpdir(), 'toggle-'));
  try {
    await toggle(pair, directory, write, TIMES);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
