import { expect, it } from 'vitest';
import { checkFirstBursts } from '../support/first_bursts.ts';

it('two Prometheus servers see the first burst of every namespace, even of one that has gone and after a kill', {
  timeout: 400_000,
}, async () => {
  const { namespaces, kills, toggles } = await checkFirstBursts({
    // With an interval of one second, Prometheus would also time out after one second, which is too short on a busy
    // machine.
    intervals: [3, 3],
    rounds: 4,
    everySeconds: 1,
    lifeSeconds: 3,
    kills: 1,
    isSaid: true,
  });
  expect({ namespaces, kills, toggles }).toEqual({ namespaces: 4, kills: 1, toggles: 1 });
});
