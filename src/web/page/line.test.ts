import { describe, expect, it } from 'vitest';
import { axisMax, linePath, lineSentence, type SparkPoint } from './line.ts';

const points = (...values: (number | null)[]): SparkPoint[] => values.map((value, index) => ({ at: index, value }));
const path = (given: readonly SparkPoint[]) =>
  linePath(
    given,
    (at) => at,
    (value) => value,
  );

describe('a line', () => {
  it('connects known values', () => {
    expect(path(points(1, 2, 3))).toBe('M0.0 1.0L1.0 2.0L2.0 3.0');
  });

  it('is interrupted where a value is unknown, and a value without neighbours is a dot', () => {
    expect(path(points(1, 2, null, 4, null, 6))).toBe('M0.0 1.0L1.0 2.0M3.0 4.0h.1M5.0 6.0h.1');
  });

  it('is interrupted by a gap', () => {
    const [a, b, c] = points(1, 2, 3);
    const given = [a, b && { ...b, isAfterGap: true }, c].filter((point) => point !== undefined);
    expect(path(given)).toBe('M0.0 1.0h.1M1.0 2.0L2.0 3.0');
  });

  it('is empty without values', () => {
    expect([path([]), path(points(null, null))]).toEqual(['', '']);
  });
});

it.each([
  [[], 1],
  [[0, null], 1],
  [[0.064], 0.075],
  [[1], 1],
  [[1.2, 1.6], 2],
  [[870], 1_000],
  [[0.1 + 0.2], 0.3],
])('the axis for %j ends at %s', (values, max) => {
  expect(axisMax(points(...values))).toBeCloseTo(max, 9);
});

it('a sentence says the same as the line', () => {
  const format = (value: number) => `${value} %`;
  const said = (...values: (number | null)[]) => lineSentence('Failed connects', points(...values), format);
  expect(said(0, 100, 50)).toBe('Failed connects in the last 5 minutes: 0 % to 100 %, now 50 %.');
  expect(said(3, 3)).toBe('Failed connects in the last 5 minutes: always 3 %, now 3 %.');
  expect(said(3, 4, null)).toBe('Failed connects in the last 5 minutes: 3 % to 4 %, now unknown.');
  expect(said(null)).toBe('Failed connects in the last 5 minutes: unknown.');
});
