import { expect, it } from 'vitest';
import { checkFirstBursts } from '../support/first_bursts.ts';

it('two Prometheus servers see the first burst of every namespace, also of one that has gone and after a kill', async () => {
  const { namespaces, kills } = await checkFirstBursts({
    intervals: [1, 1],
    seconds: 8,
    everySeconds: 2,
    lifeSeconds: 3,
    kills: 1,
    isSaid: true,
  });
  expect(namespaces).toBeGreaterThan(2);
  expect(kills).toBe(1);
});
