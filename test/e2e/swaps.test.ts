import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'vitest';
import { swapConfigurations } from '../support/swaps.ts';

it('20 swaps of a mounted ConfigMap are applied, and bad ones in between change nothing', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'swaps-'));
  await swapConfigurations(directory.path, 20);
});
