import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePruned, type Shape } from './json_prune.ts';

/** Computes the expected result from the complete value, without streaming. */
function pick(value: unknown, shape: Shape): unknown {
  if (shape === true || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => pick(item, shape));
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => {
      const kept = Object.hasOwn(shape, key) ? shape[key] : undefined;
      return kept === undefined ? [] : [[key, pick(each, kept)]];
    }),
  );
}

/**
 * No key ends in a backslash, because V8 13.6 parses {"\\"":1} as {"\\\\":1} if it has seen that key at the same
 * position before.
 */
const KEYS = ['a', 'b', 'ü', '"', 'a\\b', 'constructor'];
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.jsonValue({ maxDepth: 1 }),
    fc.string({ unit: fc.constantFrom('"', '\\', '{', ']', 'x', 'ü', '\n') }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('value'), { maxKeys: 4 }),
  ),
}));
const { shape } = fc.letrec<{ shape: Shape }>((tie) => ({
  shape: fc.oneof(
    { depthSize: 'small' },
    fc.constant<Shape>(true),
    fc.dictionary(fc.constantFrom(...KEYS), tie('shape'), { maxKeys: 3 }) as fc.Arbitrary<Shape>,
  ),
}));

describe('a pruned value', () => {
  it('is the part of the whole value that the shape names, whatever its content', () => {
    fc.assert(
      fc.property(value, shape, fc.boolean(), (given, kept, isPretty) => {
        const text = JSON.stringify(given, null, isPretty ? 2 : 0);
        expect(parsePruned(Buffer.from(text), kept)).toEqual(pick(JSON.parse(text), kept));
      }),
    );
  });

  it('that is truncated is refused', () => {
    const text = JSON.stringify({ skipped: [{ env: 'a"\\' }], a: { b: [1, 'x', null] }, c: true });
    for (let length = 0; length < text.length; length++) {
      expect(() => parsePruned(Buffer.from(text.slice(0, length)), { a: { b: true } }), text.slice(0, length)).toThrow(
        SyntaxError,
      );
    }
  });

  it.each(['{"a":1,}', '{"a" 1}', '{a:1}', '{"a":1}}', '{"a":}', '[,1]', '[1,]', '{"b":,"a":1}', '{"a":tru}'])(
    '%s is refused',
    (text) => expect(() => parsePruned(Buffer.from(text), { a: true })).toThrow(SyntaxError),
  );
});
