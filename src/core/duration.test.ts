import fc from 'fast-check';
import { expect, it } from 'vitest';
import * as z from 'zod';
import { duration, formatDuration, parseDuration } from './duration.ts';

it('parses the usual units', () => {
  expect(parseDuration('250us')).toBe(250_000);
  expect(parseDuration('10ms')).toBe(10_000_000);
  expect(parseDuration('2s')).toBe(2_000_000_000);
  expect(parseDuration('15m')).toBe(900_000_000_000);
  expect(parseDuration('1h')).toBe(3_600_000_000_000);
});

it('refuses everything else', () => {
  for (const text of ['', '10', 'ms', '-1s', '1.5s', '1 s', '10ms ', '1d', '9999999999s']) {
    expect(parseDuration(text), text).toBeUndefined();
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      const nanoseconds = parseDuration(text);
      expect(nanoseconds === undefined || /^\d+(us|ms|s|m|h)$/.test(text)).toBe(true);
    }),
  );
});

it('is an option with a default, and names the accepted form', () => {
  const schema = z.object({ threshold: duration('10ms') });
  expect(schema.parse({})).toEqual({ threshold: 10_000_000 });
  expect(schema.parse({ threshold: '1s' })).toEqual({ threshold: 1_000_000_000 });
  for (const threshold of ['soon', '0ms']) {
    expect(schema.safeParse({ threshold }).error?.issues[0]?.message).toMatch(/^a duration, like/);
  }
  expect(schema.safeParse({ threshold: 10 }).success).toBe(false);
});

it('is shown with three figures', () => {
  expect(formatDuration(850)).toBe('0.85 µs');
  expect(formatDuration(850_000)).toBe('850 µs');
  expect(formatDuration(12_345_678)).toBe('12.3 ms');
  expect(formatDuration(4_050_000_000)).toBe('4.05 s');
});
