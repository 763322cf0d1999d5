import { expect, it } from 'vitest';
import { SharedTexts, TEXT_BYTES_MAX, TextHeap } from './text_heap.ts';

it('texts of every length and script are kept while others come and go', () => {
  const heap = new TextHeap();
  const kept = new Map<number, string>();
  for (let nth = 0; nth < 5_000; nth++) {
    const text = `${'ж'.repeat(nth % 7)}-${nth}-${'x'.repeat(nth % 300)}`;
    kept.set(heap.add(text), text);
    const [first] = kept.keys();
    if (nth % 3 === 0 && first !== undefined) {
      expect(heap.get(first)).toBe(kept.get(first));
      heap.delete(first);
      kept.delete(first);
    }
  }
  for (const [at, text] of kept) expect(heap.get(at)).toBe(text);
});

it('the space of a deleted text is used again, and a text that is too long is refused', () => {
  const heap = new TextHeap();
  const at = heap.add('a'.repeat(40));
  heap.delete(at);
  expect(heap.add('b'.repeat(41))).toBe(at);
  expect(heap.get(heap.add(''))).toBe('');
  expect(() => heap.add('x'.repeat(TEXT_BYTES_MAX + 1))).toThrow(RangeError);
});

it('shared texts have one number until their last use ends', () => {
  const texts = new SharedTexts();
  const shop = texts.add('shop');
  expect([texts.add('shop'), texts.add(''), texts.size]).toEqual([shop, 0, 1]);
  texts.delete(shop);
  expect(texts.get(shop)).toBe('shop');
  texts.delete(shop);
  expect(texts.size).toBe(0);
  expect([texts.add('blog'), texts.get(shop)]).toEqual([shop, 'blog']);
});
