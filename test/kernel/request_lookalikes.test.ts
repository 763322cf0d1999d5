import { it } from 'vitest';
import { expectNothingCounted } from '../support/lookalikes.ts';

it('counts no request in changed first segments of other protocols', async () => {
  await expectNothingCounted(2_000, 1);
});
