import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonLines, readList } from './json_stream.ts';

/** Splits a text into chunks of the given sizes. */
async function* chunks(text: string, sizes: readonly number[]): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });

describe('a list', () => {
  it('is read item by item, whatever its content and wherever it is cut', async () => {
    const item = fc.record({
      metadata: fc.record({ uid: fc.string(), items: fc.array(fc.string()) }),
      spec: fc.jsonValue(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 6 }), sizes, fc.boolean(), async (items, cuts, isPretty) => {
        const list = {
          kind: 'PodList',
          metadata: { resourceVersion: '7', continue: 'x"[{' },
          items,
          after: [{ a: '}' }],
        };
        const found: unknown[] = [];
        const given = await readList(chunks(JSON.stringify(list, null, isPretty ? 2 : 0), cuts), (object) =>
          found.push(object),
        );
        expect(given).toEqual({ resourceVersion: '7', continue: 'x"[{' });
        expect(found).toEqual(JSON.parse(JSON.stringify(items)));
      }),
    );
  });

  it.each([
    ['breaks off', '{"metadata":{"resourceVersion":"1"},"items":[{"a":1},{"b"'],
    ['has no version', '{"metadata":{},"items":[]}'],
    ['is something else', '<html>busy</html>'],
  ])('that %s is refused', async (_, text) => {
    await expect(readList(chunks(text, [7]), () => undefined)).rejects.toThrow();
  });

  it('with an object of endless length is refused before it fills the memory', async () => {
    async function* endless() {
      yield Buffer.from('{"metadata":{"resourceVersion":"1"},"items":[{"a":"');
      for (;;) yield Buffer.alloc(1024 * 1024, 'x');
    }
    await expect(readList(endless(), () => undefined)).rejects.toThrow('an object of more than 8388608 bytes');
  });
});

it('lines are read one by one, wherever they are cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 6 }), sizes, async (values, cuts) => {
      const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
      const found: unknown[] = [];
      for await (const value of jsonLines(chunks(`${text}{"cut o`, cuts))) found.push(value);
      expect(found).toEqual(JSON.parse(JSON.stringify(values)));
    }),
  );
});
