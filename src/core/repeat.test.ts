import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { repeat } from './repeat.ts';

it('calls repeatedly, one call at a time, and stops once it is disposed', async () => {
  let running = 0;
  let most = 0;
  let calls = 0;
  {
    await using _ = repeat(1, async () => {
      calls++;
      most = Math.max(most, ++running);
      await wait(5);
      running--;
    });
    expect(calls).toBe(0);
    while (calls < 3) await wait(1);
  }
  expect(running).toBe(0);
  expect(most).toBe(1);
  const before = calls;
  await wait(20);
  expect(calls).toBe(before);
});
