import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { swapConfigurations } from '../support/swaps.ts';

it('20 swaps of a mounted ConfigMap are applied within a second each, and bad ones in between change nothing', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'swaps-'));
  expect(await swapConfigurations(directory.path, 20)).toBeGreaterThan(0);
}, 120_000);
