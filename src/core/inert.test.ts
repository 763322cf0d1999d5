import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ACTIVE, inertJson, visible, visibleLines } from './inert.ts';

const UNITS = fc.string({ unit: 'binary' });

it('shows active characters as their codes', () => {
  expect(visible('a\n\u001b[2J\u009b31m\u202eb\u2028c\ud800')).toBe(
    'a\\u{a}\\u{1b}[2J\\u{9b}31m\\u{202e}b\\u{2028}c\\u{d800}',
  );
  expect(visible('Grüße, 日本, 👍')).toBe('Grüße, 日本, 👍');
});

it('keeps lines, none of which looks like the first line of another message', () => {
  expect(visibleLines('is not applied:\n2026-01-01 info \u001b[31mforged\r', '  ')).toBe(
    'is not applied:\n  2026-01-01 info \\u{1b}[31mforged\\u{d}',
  );
});

it('JSON keeps its value, whatever texts it has', () => {
  fc.assert(
    fc.property(fc.dictionary(UNITS, UNITS), (value) => {
      const json = inertJson(JSON.stringify(value));
      expect(JSON.parse(json)).toEqual(value);
      expect(json.search(ACTIVE)).toBe(-1);
    }),
  );
  expect(inertJson(JSON.stringify({ a: 1 }, undefined, 2))).toBe('{\n  "a": 1\n}');
  expect(inertJson('"\u{e0001}"')).toBe('"\\udb40\\udc01"');
});
