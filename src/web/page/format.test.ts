import { describe, expect, it } from 'vitest';
import { bytes, bytesRate, clock, entityName, percent, rate, seconds, span } from './format.ts';

describe('numbers', () => {
  it.each([
    [0, '0'],
    [0.001, '<0.01'],
    [0.0234, '0.023'],
    [4.128, '4.13'],
    [12_345.6, '12,346'],
  ])('rate %s', (value, text) => expect(rate(value)).toBe(text));

  it('of all kinds', () => {
    expect(percent(0.0123)).toBe('1.23 %');
    expect([4.2e-8, 8.5e-4, 0.0123, 4.05].map(seconds)).toEqual(['42 ns', '850 µs', '12.3 ms', '4.05 s']);
    expect(seconds(0)).toBe('0 s');
    expect([0, 0.4, 999, 999.7, 20_600, 999_900, 1.5e6, 4.2e9, 3e15].map(bytes)).toEqual([
      '0 B',
      '0.4 B',
      '999 B',
      '1 kB',
      '20.6 kB',
      '1 MB',
      '1.5 MB',
      '4.2 GB',
      '3,000 TB',
    ]);
    expect(bytesRate(42e6)).toBe('42 MB/s');
    expect([-5, 0, 14_000, 200_000, 7_500_000, 90_000_000].map(span)).toEqual([
      '0 s',
      '0 s',
      '14 s',
      '3 min 20 s',
      '2 h 5 min',
      '1 d 1 h',
    ]);
    expect(clock('2026-11-21T03:04:05.067891234Z', true)).toMatch(/^\d\d:\d4:05\.067$/);
  });

  it('names', () => {
    expect(entityName({ namespace: 'shop', pod: 'web' })).toBe('shop/web');
    expect(entityName({ namespace: '', pod: 'web' })).toBe('web');
    expect(entityName({ namespace: '', pod: '' })).toBe('the node');
    expect(entityName({ namespace: null, pod: null })).toBe('unknown');
  });
});
