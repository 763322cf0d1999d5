import { expect, it } from 'vitest';
import { defineRetained, RetainedStates } from './retained.ts';

const COUNT = defineRetained(() => 0);
const SAME = defineRetained(() => 0);
const NAMES = defineRetained((): string[] => []);

it('is kept for a probe from run to run, separately from other probes and other declarations', () => {
  const states = new RetainedStates();
  states.of('one', COUNT).value = 5;
  states.of('one', SAME).value = 6;
  states.of('one', NAMES).value.push('a');
  expect(states.of('one', COUNT).value).toBe(5);
  expect(states.of('one', SAME).value).toBe(6);
  expect(states.of('one', NAMES).value).toEqual(['a']);
  expect(states.of('two', COUNT).value).toBe(0);
  expect(states.of('two', NAMES).value).toEqual([]);
  expect(new RetainedStates().of('one', COUNT).value).toBe(0);
});
