import { expect, it } from 'vitest';
import { checkFirstBursts } from '../support/first_bursts.ts';

it('two Prometheus servers see the first burst of every namespace, also of one that has gone and after a kill', async () => {
  const { namespaces, kills, toggles } = await checkFirstBursts({
    intervals: [1, 1],
    rounds: 4,
    everySeconds: 1,
    lifeSeconds: 2,
    kills: 1,
    isSaid: true,
  });
  expect({ namespaces, kills, toggles }).toEqual({ namespaces: 4, kills: 1, toggles: 1 });
});
