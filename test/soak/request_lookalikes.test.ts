import { it } from 'vitest';
import { expectNothingCounted } from '../support/lookalikes.ts';

const TIMEOUT_MS = 1_200_000;

it(
  'counts no request in 60,000 changed first segments of other protocols',
  async () => {
    await expectNothingCounted(60_000, 2);
  },
  TIMEOUT_MS,
);
