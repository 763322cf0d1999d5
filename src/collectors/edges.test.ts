import { describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import type { defineMetrics, LooseRowReader } from '#probe/metric.ts';
import {
  BOUND,
  type Given,
  joint,
  metrics,
  Ours,
  type Page,
  readerOf,
  SLOT,
  shownOf,
  sumOf,
} from '../../test/support/edge_scene.ts';
import { Edges } from './edges.ts';
import type { SampleValue } from './sample.ts';

const EVERY_MS = 15_000;

function row(peer: string, bytes: Counter, more: Partial<Given> = {}): Given {
  return { key: peer, labels: { peer, port: '1' }, bytes, ...more };
}

/** Generates pseudo-random numbers from a fixed seed. */
function* noise(): Generator<number, never> {
  for (let state = 1; ; state = (state * 48_271) % 2_147_483_647) yield state / 2_147_483_647;
}

describe('the choice of edges', () => {
  it('does not change with noise', () => {
    const ours = new Ours();
    const random = noise();
    const totals = new Map(Array.from({ length: 40 }, (_, index) => [`p${index}`, 0]));
    const seen = new Set<string>();
    for (let scrape = 0; scrape < 500; scrape++) {
      for (const [peer, bytes] of totals) totals.set(peer, bytes + 500 + Math.round(random.next().value * 1_000));
      ours.collect(
        [...totals].map(([peer, bytes]) => row(peer, bytes)),
        { max: 16 },
        scrape * EVERY_MS,
      );
      seen.add(shownOf(ours.page('bytes')).sort().join());
    }
    expect(seen.size).toBe(1);
    expect(shownOf(ours.page('bytes'))).toHaveLength(16);
  });

  it('changes to an edge that grows clearly more for two minutes, once every scraper has seen the other, and it is born at zero', () => {
    const ours = new Ours();
    const collect = (scrape: number) =>
      ours.collect(
        [row('a', 1_000 * scrape), row('b', 1_200 * scrape), row('new', scrape < 10 ? 0 : 30_000 * (scrape - 10))],
        { max: 2 },
        scrape * EVERY_MS,
      );
    const shown: string[] = [];
    let first: SampleValue | undefined;
    for (let scrape = 1; scrape < 60; scrape++) {
      collect(scrape);
      const page = ours.page('bytes');
      shown.push(
        shownOf(page)
          .map((labels) => /peer="(\w+)"/.exec(labels)?.[1])
          .join(),
      );
      first ??= page.get('peer="new",port="1"');
    }
    expect(first).toBe(0);
    const at = shown.indexOf('b,new');
    // The new edge becomes the largest one in the first or second collection in which it grows. After it has remained
    // the largest for two minutes (eight collections), the edge that it replaces stays unchanged for 152 s (eleven
    // collections).
    const sealed = at - 11;
    expect(sealed).toBeGreaterThanOrEqual(17);
    expect(sealed).toBeLessThanOrEqual(22);
    expect(shown.slice(0, at)).toEqual(new Array(at).fill('a,b'));
    expect(shown.slice(at)).toEqual(new Array(shown.length - at).fill('b,new'));
    const page = ours.page('bytes');
    expect(page.get('peer="*moved-1",port="*moved-1"')).toBe(1_000 * sealed);
    expect(sumOf(page)).toBe(1_000 * 59 + 1_200 * 59 + 30_000 * 49);
  });

  it('begins with the largest edges, and has one edge for all rows of the same labels', () => {
    const ours = new Ours();
    const of = (key: string, peer: string, bytes: number): Given => ({ key, labels: { peer, port: '1' }, bytes });
    ours.collect([of('1', 'few', 5), of('2', 'web', 3), of('3', 'web', 4), of('4', 'db', 6)], { max: 2 }, 0);
    expect([...ours.page('bytes')]).toEqual([
      ['peer="web",port="1"', 7],
      ['peer="db",port="1"', 6],
      ['peer="*",port="*"', 5],
    ]);
  });
});

describe('the values of the label with a bound of its own', () => {
  const of = (port: string, bytes: number): Given => ({ key: port, labels: { peer: 'web', port }, bytes });

  it('change to one that grows clearly more, whose earlier counts stay under *', () => {
    const ours = new Ours();
    let before: Page = new Map();
    for (let scrape = 1; scrape < 40; scrape++) {
      ours.collect(
        [of('1', 1_000 * scrape), of('2', 900 * scrape), of('3', 100 + 9_000 * (scrape - 1))],
        {},
        scrape * EVERY_MS,
      );
      const page = ours.page('bytes');
      if (page.has('peer="web",port="3"') && !before.has('peer="web",port="3"')) {
        expect(page.get('peer="web",port="3"')).toBe(0);
        // Port 3 has replaced port 2. In this collection, both ports are still counted under `*` of their peer.
        const star = 'peer="web",port="*"';
        expect(page.get(star)).toBe(Number(before.get(star)) + 9_000 + 900);
      }
      before = page;
    }
    expect([...before.keys()].sort()).toEqual([
      'peer="*moved-1",port="*moved-1"',
      'peer="web",port="*"',
      'peer="web",port="1"',
      'peer="web",port="3"',
    ]);
  });
});

describe('rows', () => {
  it('leave their counts with the labels that they had', () => {
    const ours = new Ours();
    ours.collect([row('a', 10)], {}, 0);
    ours.collect([{ ...row('a', 15), labels: { peer: 'b', port: '1' } }], {}, EVERY_MS);
    expect(ours.page('bytes').get('peer="a",port="1"')).toBe(10);
    expect(ours.page('bytes').get('peer="b",port="1"')).toBe(5);
  });

  it('continue after they were missing, and begin at zero after they were deleted', () => {
    const ours = new Ours();
    ours.collect([row('a', 10), row('b', 10, { isLast: true })], {}, 0);
    ours.collect([], {}, EVERY_MS);
    ours.collect([row('a', 15), row('b', 15)], {}, 2 * EVERY_MS);
    expect(ours.page('bytes').get('peer="a",port="1"')).toBe(15);
    expect(ours.page('bytes').get('peer="b",port="1"')).toBe(25);
  });

  it('tell the source when their last counts are on the page, not where the collection fails', () => {
    const { edges } = new Ours();
    const counted: string[] = [];
    const reader = { ...readerOf({}), counted: ({ key }: Given) => void counted.push(String(key)) };
    for (const commit of [false, true, true]) {
      edges.begin();
      edges.take([row('a', 10), ...(counted.length === 0 ? [row('b', 10, { isLast: true })] : [])], reader, () => SLOT);
      expect(counted.length).toBe(edges.rowsOf('bytes') > 0 ? 1 : 0);
      if (commit) edges.commit(0);
    }
    expect(counted).toEqual([String(row('b', 10).key)]);
  });

  it('of entities that a filter leaves out are hidden, and continue after it', () => {
    const ours = new Ours();
    ours.collect([row('a', 10)], {}, 0);
    ours.edges.begin(new Set([SLOT + 1]));
    ours.edges.commit(EVERY_MS);
    expect([ours.page('bytes').size, ours.edges.rowsOf('bytes')]).toEqual([0, 0]);
    ours.collect([row('a', 15)], {}, 2 * EVERY_MS);
    expect(sumOf(ours.page('bytes'))).toBe(15);
  });

  it('are forgotten after they start and end: memory is limited', () => {
    const ours = new Ours();
    const missing = 20_000;
    for (let index = 0; index < missing; index++) ours.collect([row(`p${index}`, 1)], {}, index);
    expect(sumOf(ours.page('bytes'))).toBe(missing);
    // Only a limited number of missing rows is remembered. The first row therefore counts as new, and the last one
    // continues.
    ours.collect([row('p0', 1), row(`p${missing - 2}`, 1)], {}, missing);
    expect(sumOf(ours.page('bytes'))).toBe(missing + 1);
  });

  it('stay as they were for a dead entity, and go with it', () => {
    const ours = new Ours();
    ours.collect([row('a', 10, { open: 3 })], {}, 0);
    ours.edges.retire(SLOT);
    ours.collect([], {}, EVERY_MS);
    expect([...ours.page('open').values()]).toEqual([3]);
    ours.edges.forget(SLOT);
    expect(ours.page('bytes').size).toBe(0);
  });

  it('are refused without a joint label, with an unknown value or for an unknown metric', () => {
    const take = (reader: Partial<LooseRowReader<Given>>) => {
      const { edges } = new Ours();
      edges.begin();
      edges.take([row('a', 1)], { ...readerOf({}), ...reader }, () => SLOT);
    };
    expect(() => take({ labels: () => ({ peer: 'a' }) })).toThrow('a row has no label port');
    expect(() => take({ samples: (_, put) => put('failed', 1, { cause: 'x' }) })).toThrow('has no cause x');
    expect(() => take({ samples: (_, put) => put('other', 1, {}) })).toThrow('other is not a metric of this bound');
  });
});

describe('descriptors that do not fit together', () => {
  const of = (more: Parameters<typeof defineMetrics>[0]) => () => new Edges({ ...metrics, ...more }, BOUND, () => true);
  const open = { help: 'Open.', example: 'x', max: 4 } as const;

  it('are refused', () => {
    const peer = { ...metrics.bytes, labels: { peer: joint.peer } } as const;
    expect(of({ peer })).toThrow('has the joint labels peer, but other metrics of its bound have peer,port');
    const beside = { ...metrics.bytes, labels: { ...joint, open } } as const;
    expect(of({ beside })).toThrow('the label open is open beside joint labels');
    expect(() => new Edges({ bytes: { ...metrics.bytes, detail: 'full' } }, BOUND, () => true)).toThrow('cannot rank');
    expect(() => new Edges({ failed: metrics.failed }, BOUND, () => true)).toThrow(
      'the bound has no metric bytes to rank edges by',
    );
  });
});
