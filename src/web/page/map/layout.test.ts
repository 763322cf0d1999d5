import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LARGE, largeReport, shopReport } from '../../../../test/support/map_reports.ts';
import { MapBook } from './book.ts';
import { COLUMNS_MAX } from './columns.ts';
import { Directory } from './directory.ts';
import { labelsOf, overlap } from './labels.ts';
import { BOX, type Layout, layOut, NO_SEATS } from './layout.ts';
import { type Snapshot, snapshotOf } from './model.ts';
import { ALL, type Picture, pictureOf } from './picture.ts';
import { pathOf, pointAt, routesOf } from './routes.ts';

function pictureFrom(report: ReturnType<typeof shopReport>): Picture {
  const book = new MapBook();
  book.add(report);
  return pictureOf(snapshotOf(book, [], new Directory([], [], [])) as Snapshot, ALL);
}

const shop = pictureFrom(shopReport(60));
const large = pictureFrom(largeReport(LARGE, 60));

const node = (id: string, band = 'a', isLast = false) => ({ id, band, isLast });
const edge = (source: string, target: string) => ({ id: `${source} ${target}`, source, target });

/** Parses edges such as `a>b b>c`. */
const edges = (text: string) => text.split(' ').map((pair) => edge(...(pair.split('>') as [string, string])));
const nodesOf = (text: string, band = 'a') => [...new Set(text.split(/[ >]/))].map((id) => node(id, band));

function columnsOf({ spots }: Layout): Record<string, number> {
  return Object.fromEntries([...spots].map(([id, { column }]) => [id, column]).sort());
}

const columnsFor = (text: string) => columnsOf(layOut(nodesOf(text), edges(text)));

describe('columns', () => {
  it('put clients at the left of servers', () => {
    expect(columnsFor('a>b b>c a>c')).toEqual({ a: 0, b: 1, c: 2 });
  });

  it('put a box that nobody asks just left of what it asks', () => {
    expect(columnsFor('a>b b>c c>d job>d')).toEqual({ a: 0, b: 1, c: 2, d: 3, job: 2 });
  });

  it('break cycles', () => {
    expect(columnsFor('a>b b>c c>b c>a')).toEqual({ a: 0, b: 1, c: 2 });
  });

  it('are at most nine, and calls still run to the right, for chains that are longer', () => {
    const names = Array.from({ length: 18 }, (_, index) => String.fromCharCode(97 + index));
    const chain = names.slice(1).map((name, index) => edge(names[index] ?? '', name));
    const { spots } = layOut(
      names.map((name) => node(name)),
      chain,
    );
    const columns = names.map((name) => spots.get(name)?.column ?? -1);
    expect(columns).toEqual([...columns].sort((a, b) => a - b));
    expect(Math.max(...columns)).toBe(COLUMNS_MAX - 1);
  });

  it('of the last kind stand right of those that ask them', () => {
    const { spots } = layOut([...nodesOf('a>b b>c'), node('out', '', true)], edges('a>b b>c c>out a>out'));
    expect(spots.get('out')?.column).toBe(3);
  });

  it('do not depend on hubs, which ask or answer more than 40 % of at least eight boxes', () => {
    const names = Array.from({ length: 12 }, (_, index) => `w${index}`);
    const asked = names.map((name) => edge('hub', name));
    const { spots } = layOut([...names.map((name) => node(name)), node('hub')], [...asked, edge('w0', 'w1')]);
    expect([spots.get('hub')?.isHub, spots.get('hub')?.column]).toEqual([true, 0]);
    expect([spots.get('w0')?.column, spots.get('w1')?.column, spots.get('w2')?.isHub]).toEqual([0, 1, false]);
    const few = layOut(nodesOf('hub>a hub>b hub>c'), edges('hub>a hub>b hub>c'));
    expect(few.spots.get('hub')?.isHub).toBe(false);
  });
});

describe('the layout', () => {
  it('has a band for each namespace, what is outside first', () => {
    const { bands } = layOut(shop.boxes, shop.lines);
    expect(bands.map(({ id }) => id)).toEqual(['', 'edge', 'shop', 'system', 'data'].sort(byPlace(bands)));
    expect(bands[0]?.id).toBe('');
  });

  it('is the same whatever the order of the input', () => {
    const expected = layOut(large.boxes, large.lines);
    for (const order of [(a: number) => -a, (a: number) => (a * 7_919) % 1_009]) {
      const shuffled = <T>(items: readonly T[]) =>
        items.map((item, index) => ({ item, key: order(index) })).sort((a, b) => a.key - b.key);
      const layout = layOut(
        shuffled(large.boxes).map(({ item }) => item),
        shuffled(large.lines).map(({ item }) => item),
      );
      expect(new Map([...layout.spots].sort())).toEqual(new Map([...expected.spots].sort()));
      expect(layout.bands).toEqual(expected.bands);
    }
  });

  it('places each box in its own band, and no two boxes at the same place', () => {
    for (const { boxes, lines } of [shop, large]) expectPlaced(layOut(boxes, lines), boxes);
  });

  it('has these properties for any graph', () => {
    const graph = fc
      .tuple(fc.integer({ min: 1, max: 30 }), fc.array(fc.tuple(fc.nat(29), fc.nat(29)), { maxLength: 80 }))
      .map(([count, pairs]) => ({
        boxes: Array.from({ length: count }, (_, index) => node(`n${index}`, `b${index % 4}`, index % 7 === 0)),
        lines: pairs.map(([a, b]) => edge(`n${a}`, `n${b}`)),
      }));
    fc.assert(
      fc.property(graph, ({ boxes, lines }) => {
        const layout = layOut(boxes, lines);
        expectPlaced(layout, boxes);
        expect(Math.max(...Object.values(columnsOf(layout)))).toBeLessThan(COLUMNS_MAX);
        for (const route of routesOf(lines, layout.spots).values()) expect(pathOf(route)).not.toMatch(/NaN|Infinity/);
        expect(layOut(boxes, lines, layout.seats).spots).toEqual(layout.spots);
      }),
    );
  });

  it('moves no box out of its column or place for one box more, and bands below only if one is full', () => {
    for (const { boxes, lines } of [shop, large]) {
      const before = layOut(boxes, lines);
      const [first, second] = [boxes.find(({ band }) => band !== '')?.id ?? '', boxes.at(-1)?.id ?? ''];
      const band = boxes.find(({ id }) => id === first)?.band ?? '';
      const more = [...boxes, { ...node('new-workload', band) }];
      const after = layOut(more, [...lines, edge(first, 'new-workload'), edge('new-workload', second)], before.seats);
      expectPlaced(after, more);
      const heights = new Map(after.bands.map(({ id, height }) => [id, height]));
      const grown = before.bands.filter(({ id, height }) => heights.get(id) !== height).map(({ id }) => id);
      expect(grown.length).toBeLessThanOrEqual(1);
      if (grown.length === 1) expect(grown).toEqual([band]);
      for (const [id, seat] of before.seats.byBox) expect(after.seats.byBox.get(id)).toEqual(seat);
    }
  });

  it('gives a new box the first free place of its column', () => {
    const start = layOut(nodesOf('a>b a>c'), edges('a>b a>c'));
    const after = layOut(nodesOf('a>b a>d'), edges('a>b a>d'), start.seats);
    // The position of c remains reserved.
    expect(after.seats.byBox.get('d')).toMatchObject({ column: 1, row: 2 });
    const { byBox, ...others } = start.seats;
    const freed = new Map([...byBox].filter(([id]) => id !== 'c'));
    const later = layOut(nodesOf('a>b a>d'), edges('a>b a>d'), { ...others, byBox: freed });
    expect(later.seats.byBox.get('d')).toEqual(byBox.get('c'));
  });

  it('arranges from the beginning if most boxes are new', () => {
    const start = layOut(nodesOf('a>b'), edges('a>b'));
    const text = 'x>a a>b b>c c>d d>e';
    expect(columnsOf(layOut(nodesOf(text), edges(text), start.seats))).toEqual(columnsFor(text));
  });

  it('arranges from the beginning if most lines between known boxes are new', () => {
    const names = nodesOf('a>b b>c c>d d>e');
    const early = layOut(names, edges('a>b'));
    const all = edges('a>b b>c c>d d>e');
    expect(early.isNew).toBe(true);
    expect(columnsOf(layOut(names, edges('a>b b>c'), early.seats))).toEqual(columnsOf(early));
    const later = layOut(names, all, early.seats);
    expect([columnsOf(later), later.isNew]).toEqual([columnsFor('a>b b>c c>d d>e'), true]);
    expect(layOut(names, all, later.seats)).toMatchObject({ isNew: false, spots: later.spots });
  });

  it('mends remembered places that coincide', () => {
    const seat = { band: 'a', column: 0, row: 0 };
    const seats = {
      ...NO_SEATS,
      pairs: 1,
      byBox: new Map([
        ['a', seat],
        ['b', seat],
      ]),
    };
    const nodes = nodesOf('a>b');
    expectPlaced(layOut(nodes, edges('a>b'), seats), nodes);
  });
});

function byPlace(bands: Layout['bands']): (a: string, b: string) => number {
  const place = (id: string) => bands.findIndex((band) => band.id === id);
  return (a, b) => place(a) - place(b);
}

function expectPlaced({ spots, bands, width, height }: Layout, boxes: readonly { id: string; band: string }[]): void {
  expect(spots.size).toBe(boxes.length);
  const places = new Set<string>();
  for (const { id, band } of boxes) {
    const { x, y } = spots.get(id) ?? { x: -1, y: -1 };
    const own = bands.find((one) => one.id === band);
    expect(y - BOX.height / 2).toBeGreaterThanOrEqual(own?.y ?? Number.NaN);
    expect(y + BOX.height / 2).toBeLessThanOrEqual((own?.y ?? Number.NaN) + (own?.height ?? Number.NaN));
    expect([x > 0, x + BOX.width / 2 <= width, y < height]).toEqual([true, true, true]);
    places.add(`${x} ${y}`);
  }
  expect(places.size).toBe(boxes.length);
}

describe('lines', () => {
  it('run to the right in the shop', () => {
    const { spots } = layOut(shop.boxes, shop.lines);
    const wrong = shop.lines.filter(({ source, target }) => {
      const [from, to] = [spots.get(source), spots.get(target)];
      return !from?.isHub && (from?.column ?? 0) >= (to?.column ?? 0);
    });
    expect(wrong.map(({ id }) => id)).toEqual([]);
  });

  it('pass no box', () => {
    const { spots } = layOut(shop.boxes, shop.lines);
    const routes = routesOf(shop.lines, spots);
    for (const { id, source, target } of shop.lines) {
      const route = routes.get(id) ?? [];
      for (const [box, { x, y }] of spots) {
        if (box === source || box === target) continue;
        for (let t = 0; t <= 1; t += 0.01) {
          const [px, py] = pointAt(route, Math.min(t, 0.999));
          const isInside = Math.abs(px - x) < BOX.width / 2 && Math.abs(py - y) < BOX.height / 2;
          expect(isInside, `${id} at ${box}`).toBe(false);
        }
      }
    }
  });
});

describe('labels', () => {
  it.each([
    ['the shop', shop],
    ['a large graph', large],
  ])('cover no box and no other label in %s', (_, { boxes, lines }) => {
    const { spots } = layOut(boxes, lines);
    const routes = routesOf(lines, spots);
    const texts = lines.filter((_line, index) => index % 4 === 0).map(({ id }) => ({ id, text: '12345678' }));
    const placed = [...labelsOf(texts, routes, spots).values()];
    expect(placed).toHaveLength(texts.length);
    for (const [index, label] of placed.entries()) {
      for (const { x, y } of spots.values()) {
        expect(overlap(label, { x: x - BOX.width / 2, y: y - BOX.height / 2, ...BOX })).toBe(false);
      }
      for (const other of placed.slice(index + 1)) expect(overlap(label, other)).toBe(false);
    }
  });
});
