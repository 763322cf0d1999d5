import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { APPLIED_WITHIN_MS } from '../support/soak.ts';
import { swapConfigurations } from '../support/swaps.ts';

it('200 swaps of a mounted ConfigMap are applied within a second each, and bad ones in between change nothing', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'swaps-'));
  const slowestMs = await swapConfigurations(directory.path, 200);
  process.stdout.write(`slowest ${Math.round(slowestMs)} ms\n`);
  expect(slowestMs).toBeLessThan(APPLIED_WITHIN_MS);
}, 900_000);
