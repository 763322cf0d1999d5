import { expect, it } from 'vitest';
import { parseConntrackStat } from './conntrack_stat.ts';

const HEADER = 'entries  clashres found drop early_drop\n';

it('adds up the CPUs, except for the number of entries', () => {
  const text = `${HEADER}0000001f  00000000 00000002 0000000a 00000001\n0000001f  00000000 00000001 000000ff 00000000\n`;
  const stat = parseConntrackStat(text, (part) => expect.fail(part));
  expect(Object.fromEntries(stat)).toEqual({ entries: 31, clashres: 0, found: 3, drop: 265, early_drop: 1 });
});

it('skips malformed rows, and says so', () => {
  const malformed: string[] = [];
  const text = `${HEADER}1 2 3\n1 2 3 x 5\n00000001  00000000 00000000 00000002 00000000\n0000`;
  const stat = parseConntrackStat(text, (part) => malformed.push(part));
  expect(stat.get('drop')).toBe(2);
  expect(malformed).toHaveLength(3);
});
