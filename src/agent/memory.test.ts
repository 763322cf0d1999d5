import { expect, it } from 'vitest';
import { eventually } from '../../test/support/oracle.ts';
import { keepMemory } from './memory.ts';

it('after a burst both threads give back, once even if one of them does not answer', async () => {
  const looks = [100, 100, 150, 150, 150];
  let looked = 0;
  const given: string[] = [];
  const kernel = {
    ask: async (name: string) => {
      given.push(name);
      throw new Error('the kernel thread ended');
    },
  };
  await using _memory = keepMemory(
    kernel as unknown as Parameters<typeof keepMemory>[0],
    1,
    () => looks[looked++] ?? 150,
    () => void given.push('main'),
  );
  await eventually(() => expect(looked).toBeGreaterThan(20));
  expect(given).toEqual(['giveBack', 'main']);
});
