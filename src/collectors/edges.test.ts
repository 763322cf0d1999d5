import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addCounters, type Counter, subtractCounters, toCounter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineMetrics, type LooseRowReader, NO_LABELS } from '#probe/metric.ts';
import { Edges } from './edges.ts';
import type { SampleValue } from './sample.ts';

const BOUND = { max: { core: 3, full: 5 }, rank: ['bytes'] } as const;
const PORTS_MAX = 2;
const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const joint = {
  peer: { help: 'Peer.', example: 'web', joint: BOUND },
  port: { help: 'Port.', example: '80', joint: BOUND, max: PORTS_MAX },
} as const;
const metrics = defineMetrics({
  bytes: { ...base, type: 'counter', name: 'netsonde_x_bytes_total', labels: joint },
  failed: {
    ...base,
    type: 'counter',
    name: 'netsonde_x_failed_total',
    labels: { cause: { help: 'Cause.', values: ['refused', 'timeout'] }, ...joint },
  },
  open: { ...base, type: 'gauge', name: 'netsonde_x_open', labels: joint },
  delay: { ...base, type: 'histogram', name: 'netsonde_x_delay', labels: joint, buckets: [1, 2] },
});
const SLOT = 0;
/** Timeout of property tests on a busy machine. */
const TIMEOUT_MS = 60_000;
const EMPTY_DELAY = { counts: [0, 0, 0], sum: 0 };

/** A row as a source returns it. */
interface Given {
  readonly key: string;
  readonly labels: { readonly peer: string; readonly port: string };
  readonly bytes: Counter;
  readonly failed?: number;
  readonly open?: number;
  readonly delay?: { readonly counts: readonly number[]; readonly sum: number };
  readonly isLast?: boolean;
}

interface Bounds {
  readonly max?: number | undefined;
  readonly labelMax?: number | undefined;
}

function readerOf(bounds: Bounds): LooseRowReader<Given> {
  return {
    ...bounds,
    subject: () => asNetnsId(1),
    key: ({ key }) => key,
    labels: ({ labels }) => labels,
    isLast: ({ isLast = false }) => isLast,
    samples: ({ bytes, failed, open = 0, delay = EMPTY_DELAY }, put) => {
      put('bytes', bytes, NO_LABELS);
      if (failed !== undefined) put('failed', failed, { cause: 'timeout' });
      put('open', open, NO_LABELS);
      put('delay', delay, NO_LABELS);
    },
  };
}

type Page = ReadonlyMap<string, SampleValue>;

/** An implementation of the joint limit: the real one, or one with a known bug. */
interface Subject {
  collect(rows: readonly Given[], bounds: Bounds, nowMs: number, commit: boolean): void;
  fold(level: number): void;
  /** Returns the samples of a metric by label text. */
  page(metric: string): Page;
}

class Ours implements Subject {
  readonly edges = new Edges(metrics, BOUND, () => true);

  collect(rows: readonly Given[], bounds: Bounds, nowMs: number, commit = true): void {
    this.edges.begin();
    this.edges.take(rows, readerOf(bounds), () => SLOT);
    if (commit) this.edges.commit(nowMs);
  }

  fold(level: number): void {
    this.edges.fold(level);
  }

  page(metric: string): Page {
    const page = new Map<string, SampleValue>();
    this.edges.visit(metric, (_, labels, value) => {
      const key = Buffer.from(labels ?? []).toString();
      expect(page.has(key), `${key} twice`).toBe(false);
      page.set(key, value);
    });
    return page;
  }
}

/**
 * An implementation with a bug: it always shows the three largest edges, so an edge that moves to or from `*` takes its
 * total with it.
 */
class Naive implements Subject {
  readonly #rows = new Map<string, Given>();

  collect(rows: readonly Given[], _bounds: Bounds, _nowMs: number, commit: boolean): void {
    if (commit) for (const row of rows) this.#rows.set(row.key, row);
  }

  fold(): void {}

  page(metric: string): Page {
    const sums = new Map<string, Counter>();
    for (const { labels, bytes, failed = 0 } of this.#rows.values()) {
      const key = `peer="${labels.peer}",port="${labels.port}"`;
      sums.set(key, addCounters(sums.get(key) ?? 0, metric === 'bytes' ? bytes : failed));
    }
    const ordered = [...sums].sort(([, a], [, b]) => Number(b) - Number(a));
    const rest = ordered.slice(3).reduce<Counter>((sum, [, value]) => addCounters(sum, value), 0);
    return new Map([...ordered.slice(0, 3), ['peer="*",port="*"', rest]]);
  }
}

function countOf(value: SampleValue): Counter {
  return typeof value === 'object' ? value.counts.reduce(addCounters, 0) : value;
}

function sumOf(page: Page): Counter {
  return [...page.values()].map(countOf).reduce<Counter>(addCounters, 0);
}

const isMoved = (labels: string) => labels.includes('*moved-');

/** Follows one counter over several pages as Prometheus does. */
class Scraper {
  #before: Page = new Map();
  /** Sum of the increases, plus the first values of new series except those with the totals of moved edges. */
  counted: Counter = 0;

  scrape(page: Page): void {
    for (const [labels, value] of page) {
      const before = this.#before.get(labels);
      const now = countOf(value);
      if (before === undefined) {
        if (!isMoved(labels)) this.counted = addCounters(this.counted, now);
        continue;
      }
      expect(now >= countOf(before), `${labels} fell from ${countOf(before)} to ${now}`).toBe(true);
      this.counted = addCounters(this.counted, subtractCounters(now, countOf(before)));
      if (isMoved(labels)) expect(now, labels).toEqual(countOf(before));
    }
    this.#before = page;
  }
}

interface Step {
  readonly afterMs: number;
  readonly commit: boolean;
  readonly max: number | undefined;
  readonly labelMax: number | undefined;
  readonly fold: number;
  readonly rows: readonly RowStep[];
}

interface RowStep {
  readonly key: number;
  readonly peer: number;
  readonly port: number;
  readonly grown: Counter;
  /**
   * `anew`: the row was reset, and its value is smaller than the previous one. `last`: the row is deleted after this
   * collection. Both occur only in committed collections.
   */
  readonly kind: 'grows' | 'anew' | 'last';
}

/** A model of a source: its rows and their counters. */
class Source {
  readonly #rows = new Map<number, Given>();
  readonly #lives = new Map<number, number>();
  /** Last collected value of each row, by row and incarnation. */
  readonly #taken = new Map<string, Given>();

  next({ key, peer, port, grown, kind }: RowStep, commit: boolean): Given {
    const before = this.#rows.get(key);
    const taken = this.#taken.get(`${key} ${this.#lives.get(key)}`)?.bytes ?? 0;
    const isAnew = commit && kind === 'anew' && before !== undefined && taken > 0;
    if (before === undefined || isAnew) this.#lives.set(key, (this.#lives.get(key) ?? 0) + 1);
    const small = Number(BigInt(grown) % 100n);
    const { bytes, failed, delay } = (isAnew ? undefined : before) ?? { bytes: 0, failed: 0, delay: EMPTY_DELAY };
    const row = {
      key: String(key),
      labels: { peer: `p${peer}`, port: String(port) },
      bytes: isAnew ? toCounter(BigInt(grown) % BigInt(taken)) : addCounters(bytes, grown),
      failed: (failed ?? 0) + small,
      open: small,
      delay: { counts: (delay ?? EMPTY_DELAY).counts.map((count, index) => count + (small % (index + 2))), sum: 0 },
      isLast: commit && kind === 'last',
    };
    if (row.isLast) this.#rows.delete(key);
    else this.#rows.set(key, row);
    if (commit) this.#taken.set(`${key} ${this.#lives.get(key)}`, row);
    return row;
  }

  total(read: (row: Given) => Counter): Counter {
    return [...this.#taken.values()].map(read).reduce<Counter>(addCounters, 0);
  }
}

/** Runs the steps, and checks each page. */
function check(subject: Subject, steps: readonly Step[]): void {
  const source = new Source();
  const scrapers = {
    bytes: new Scraper(),
    failed: new Scraper(),
    ...(subject instanceof Ours ? { delay: new Scraper() } : {}),
  };
  let nowMs = 0;
  for (const { afterMs, commit, max, labelMax, fold, rows } of steps) {
    nowMs += afterMs;
    const given = rows.map((row) => source.next(row, commit));
    subject.collect(given, { max, labelMax }, nowMs, commit);
    // The series limit folds a page in steps, after each collection, including failed ones.
    for (let level = fold === 0 ? 0 : 1; level <= fold; level++) subject.fold(level);
    if (!commit) continue;
    const bytes = subject.page('bytes');
    expect(sumOf(bytes)).toEqual(source.total((row) => row.bytes));
    expect(sumOf(subject.page('failed'))).toEqual(source.total(({ failed = 0 }) => failed));
    for (const [metric, scraper] of Object.entries(scrapers)) {
      scraper.scrape(subject.page(metric));
      expect(scraper.counted, metric).toEqual(sumOf(subject.page(metric)));
    }
    if (!(subject instanceof Ours)) continue;
    checkBounds(bytes, (max ?? BOUND.max.core) >> fold, labelMax ?? PORTS_MAX);
    expect(sumOf(subject.page('delay'))).toEqual(source.total(({ delay = EMPTY_DELAY }) => countOf(delay)));
    expect(sumOf(subject.page('open'))).toBe(given.reduce((sum, { open = 0 }) => sum + open, 0));
  }
}

function shownOf(page: Page): string[] {
  return [...page.keys()].filter((labels) => !labels.includes('peer="*'));
}

function checkBounds(page: Page, max: number, labelMax: number): void {
  const shown = shownOf(page);
  expect(shown.length).toBeLessThanOrEqual(max);
  const ports = shown.filter((labels) => !labels.includes('port="*"')).map((labels) => labels.replace(/port=.*/, ''));
  for (const peer of ports) expect(ports.filter((other) => other === peer).length).toBeLessThanOrEqual(labelMax);
}

const growth = fc.oneof(
  { weight: 8, arbitrary: fc.nat(1_000) },
  { weight: 1, arbitrary: fc.bigInt(2n ** 53n, 2n ** 58n) },
  { weight: 1, arbitrary: fc.constant(0) },
);
const step: fc.Arbitrary<Step> = fc.record({
  afterMs: fc.constantFrom(0, 15_000, 60_000, 300_000, 3_600_000),
  commit: fc.integer({ min: 0, max: 9 }).map((one) => one > 0),
  max: fc.constantFrom(undefined, undefined, undefined, 1, 4, 8),
  labelMax: fc.constantFrom(undefined, undefined, undefined, 1, 3),
  fold: fc.constantFrom(0, 0, 0, 0, 1, 2),
  rows: fc.uniqueArray(
    fc.record({
      key: fc.nat(11),
      peer: fc.nat(4),
      port: fc.nat(4),
      grown: growth,
      kind: fc.constantFrom('grows', 'grows', 'grows', 'grows', 'anew', 'last'),
    }),
    { selector: ({ key }) => key, maxLength: 12 },
  ),
});
const steps = fc.array(step, { minLength: 1, maxLength: 30 });

describe('any rows, labels and bounds', () => {
  it(
    'sums are exact, no series falls, rates count each thing once, and no bound is exceeded',
    () => {
      fc.assert(
        fc.property(steps, (run) => check(new Ours(), run)),
        { numRuns: 150 },
      );
    },
    TIMEOUT_MS,
  );

  it('the same checks refuse a bound that moves totals with the edges', () => {
    const { failed } = fc.check(
      fc.property(steps, (run) => check(new Naive(), run)),
      { numRuns: 300, endOnFailure: true },
    );
    expect(failed).toBe(true);
  });
});

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
    // The edge becomes the largest one in the first or second collection with growth. It must remain the largest for
    // two minutes, which are eight collections, and then stay unchanged for 152 s, which are eleven collections.
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
        // Port 2 has lost its place. In this collection, both ports are counted under `*` of their peer.
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
    // The first row was forgotten, but the last one is still known.
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
