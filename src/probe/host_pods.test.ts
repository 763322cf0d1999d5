import { expect, it } from 'vitest';
import { asNetnsId, hostPodId, isHostPodId, UNLISTED } from '#core/netns.ts';
import { restOf, slotOfRest } from './tally.ts';

it('a Pod that shares the node’s namespace is neither a cookie nor a row without a namespace', () => {
  for (const number of [1, 2, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
    const id = hostPodId(number);
    expect(isHostPodId(id)).toBe(true);
    expect(slotOfRest(id)).toBeUndefined();
  }
  expect(hostPodId(1)).not.toBe(hostPodId(2));
  // In nested contexts such as interrupts, the kernel assigns namespace cookies from the end of the range.
  const others = [UNLISTED, asNetnsId(1), asNetnsId(2n ** 61n), asNetnsId(2n ** 64n - 1n), restOf(0), restOf(400)];
  expect(others.map(isHostPodId)).toEqual(others.map(() => false));
});
