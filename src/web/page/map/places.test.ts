import { describe, expect, it } from 'vitest';
import { layOut } from './layout.ts';
import { Places } from './places.ts';

/** A browser's storage with a limited number of characters. */
class FakeStorage implements Storage {
  readonly #items = new Map<string, string>();
  readonly #max: number;

  constructor(max = Number.POSITIVE_INFINITY) {
    this.#max = max;
  }

  get length(): number {
    return this.#items.size;
  }

  clear(): void {
    this.#items.clear();
  }

  key(index: number): string | null {
    return [...this.#items.keys()][index] ?? null;
  }

  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (value.length > this.#max) throw new Error('the quota has been exceeded');
    this.#items.set(key, value);
  }

  removeItem(key: string): void {
    this.#items.delete(key);
  }
}

const MINUTE_MS = 60_000;
const NONE: ReadonlySet<string> = new Set();

function remember(places: Places, ids: readonly string[], nowMs: number): void {
  const nodes = ids.map((id) => ({ id, band: 'shop', isLast: false }));
  const { seats } = layOut(nodes, [], places.seats(new Set(ids), NONE, nowMs));
  places.remember(seats, new Map(ids.map((id) => [id, `title of ${id}`])), nowMs);
}

describe('places', () => {
  it('are those of the last visit, for each node and level', () => {
    const storage = new FakeStorage();
    remember(new Places('node-a', 'workloads', storage), ['cart', 'search'], 0);
    const later = new Places('node-a', 'workloads', storage);
    expect(later.boxes.map(({ id, title }) => [id, title]).sort()).toEqual([
      ['cart', 'title of cart'],
      ['search', 'title of search'],
    ]);
    expect(later.seats(new Set(['cart']), NONE, MINUTE_MS).byBox.get('cart')).toEqual({
      band: 'shop',
      column: 0,
      row: 0,
    });
    expect(new Places('node-b', 'workloads', storage).boxes).toEqual([]);
    expect(new Places('node-a', 'namespaces', storage).boxes).toEqual([]);
  });

  it('of boxes that ended stay free for ten minutes', () => {
    const places = new Places('node-a', 'workloads', new FakeStorage());
    remember(places, ['cart', 'search'], 0);
    const kept = (nowMs: number, hidden = NONE) => [...places.seats(new Set(['search']), hidden, nowMs).byBox.keys()];
    expect(kept(9 * MINUTE_MS).sort()).toEqual(['cart', 'search']);
    expect(kept(11 * MINUTE_MS)).toEqual(['search']);
    // A position is not reserved for a box that still exists but is hidden in this view.
    expect(kept(MINUTE_MS, new Set(['cart']))).toEqual(['search']);
  });

  it('are forgotten on request', () => {
    const storage = new FakeStorage();
    const places = new Places('node-a', 'workloads', storage);
    remember(places, ['cart'], 0);
    places.forget();
    expect([places.boxes, new Places('node-a', 'workloads', storage).boxes]).toEqual([[], []]);
  });

  it('are bounded: the boxes that were seen last are kept', () => {
    const storage = new FakeStorage();
    const places = new Places('node-a', 'workloads', storage);
    const ids = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
    remember(places, ids('old', 500), 0);
    remember(places, ids('new', 500), MINUTE_MS);
    const kept = new Places('node-a', 'workloads', storage).boxes.map(({ id }) => id);
    expect(kept).toHaveLength(600);
    expect(kept.filter((id) => id.startsWith('new'))).toHaveLength(500);
  });

  it('last as long as the page if the storage is full, or forbidden', () => {
    for (const storage of [new FakeStorage(10), undefined]) {
      const places = new Places('node-a', 'workloads', storage);
      remember(places, ['cart'], 0);
      expect(places.boxes).toHaveLength(1);
      expect(new Places('node-a', 'workloads', storage).boxes).toEqual([]);
    }
  });

  it.each([
    'nonsense',
    '[]',
    '{"bands":[],"rows":[],"boxes":[{"id":"a"}],"pairs":0}',
    '{"bands":[],"rows":[],"boxes":[],"pairs":-1}',
    '{"bands":[1],"rows":[],"boxes":[],"pairs":0}',
    '{"bands":[],"rows":[["a",1e9]],"boxes":[],"pairs":0}',
    '{"bands":[],"rows":[],"boxes":[{"id":"a","title":"a","band":"b","column":-1,"row":0,"seenMs":0}],"pairs":0}',
    '{"bands":[],"rows":[],"boxes":[{"id":"a","title":"a","band":"b","column":0,"row":0.5,"seenMs":0}],"pairs":0}',
  ])('that are malformed are ignored: %s', (text) => {
    const storage = new FakeStorage();
    storage.setItem('netsonde-map workloads node-a', text);
    expect(new Places('node-a', 'workloads', storage).boxes).toEqual([]);
  });
});
