import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { RESET_CASES } from '../support/reset_cases.ts';

const PAGE = new URL('../../docs/resets.md', import.meta.url);

it('has a case for each row of docs/resets.md, with the outcome that the row names', () => {
  const lines = readFileSync(PAGE, 'utf8').split('\n');
  const received = lines.indexOf('## Received');
  const rows = lines.flatMap((line, at) => {
    const [, , , outcome = '', name = ''] = line.split('|').map((cell) => cell.trim());
    return /^`(orderly|cut_off)`$/.test(outcome)
      ? [{ direction: at < received ? 'sent' : 'received', outcome: outcome.slice(1, -1), name }]
      : [];
  });
  expect(received).toBeGreaterThan(0);
  expect(rows.length).toBeGreaterThan(20);
  for (const { direction, outcome, name } of rows) {
    const counts = RESET_CASES.find((one) => one.name === name)?.counts ?? {};
    const found = Object.keys(counts).filter(
      (key) => key.includes(` ${direction} `) && key.endsWith(' orderly') === (outcome === 'orderly'),
    );
    expect(found, `${direction}: ${name}`).not.toEqual([]);
  }
  const named = new Set(rows.map(({ name }) => name));
  expect(RESET_CASES.map(({ name }) => name).filter((name) => !named.has(name))).toEqual([]);
});
