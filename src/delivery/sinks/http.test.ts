import { expect, it } from 'vitest';
import { parseRetryAfter } from './http.ts';

const DATE = 'Sat, 21 Nov 2026 03:00:00 GMT';

it.each([
  ['seconds', '120', DATE, 120_000],
  ['seconds without a date', '120', undefined, 120_000],
  ['a date, by the clock of the server', 'Sat, 21 Nov 2026 03:01:30 GMT', DATE, 90_000],
  ['a date that has passed', 'Sat, 21 Nov 2026 02:59:59 GMT', DATE, 0],
  ['a date without the time of the answer', 'Sat, 21 Nov 2026 03:01:30 GMT', undefined, 0],
  ['neither', 'soon', DATE, 0],
  ['nothing', undefined, DATE, 0],
])('Retry-After says %s', (_, text, date, ms) => {
  expect(parseRetryAfter(text, date)).toBe(ms);
});
