import { expect, it } from 'vitest';
import { parseSince } from './events_query.ts';

const NOW_MS = Date.parse('2026-01-01T00:00:00Z');

it.each([
  ['500ms', NOW_MS - 500],
  ['30s', NOW_MS - 30_000],
  ['10m', NOW_MS - 600_000],
  ['2h', NOW_MS - 7_200_000],
  ['2025-12-31T23:00:00Z', NOW_MS - 3_600_000],
])('since=%s is an age in any unit of the configuration, or a time', (text, ms) => {
  expect(parseSince(text, NOW_MS)).toBe(ms);
});

it.each(['', '10', '10x', '-5s', 'yesterday'])('since=%s is neither', (text) => {
  expect(parseSince(text, NOW_MS)).toBeNaN();
});
