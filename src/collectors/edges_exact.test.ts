import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addCounters, type Counter, subtractCounters, toCounter } from '#core/counter.ts';
import {
  BOUND,
  type Bounds,
  countOf,
  EMPTY_DELAY,
  type Given,
  metrics,
  Ours,
  OursWithVersions,
  type Page,
  PORTS_MAX,
  type Subject,
  shownOf,
  sumOf,
} from '../../test/support/edge_scene.ts';

/** Timeout of property tests on a busy machine. */
const TIMEOUT_MS = 60_000;

/**
 * An implementation with a bug: it always shows the three largest edges, so the total of an edge moves with it to or
 * from `*`.
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

const isMoved = (labels: string) => labels.includes('*moved-');

/** Follows one counter over several pages, as Prometheus does. */
class Scraper {
  #before: Page = new Map();
  /**
   * Sum of all increases and of the first values of new series. Series that hold the totals of moved edges are
   * excluded.
   */
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
   * `anew`: the row was reset, and its value is lower than before. `last`: the row is deleted after this collection.
   * Both occur only in committed collections.
   */
  readonly kind: 'grows' | 'anew' | 'last';
}

/** A model of a source: its rows and their counters. */
class Source {
  readonly #rows = new Map<number, Given>();
  readonly #lives = new Map<number, number>();
  /** The last collected value of each row, by row and by how often it has been reset. */
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
    // The series limit folds a page step by step after each collection, even after one that failed.
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

/** Runs the steps on both implementations. Most rows do not change. Returns the number of rows that were not read. */
function compare(run: readonly Step[]): number {
  const source = new Source();
  const [ours, versions] = [new Ours(), new OursWithVersions()];
  let nowMs = 0;
  for (const { afterMs, commit, max, labelMax, fold, rows } of run) {
    nowMs += afterMs;
    const given = rows.map((row) =>
      source.next(row.key % 4 === 0 ? row : { ...row, peer: row.key % 5, port: 1, grown: 0 }, commit),
    );
    for (const subject of [ours, versions]) {
      subject.collect(given, { max, labelMax }, nowMs, commit);
      for (let level = fold === 0 ? 0 : 1; level <= fold; level++) subject.fold(level);
    }
    if (!commit) continue;
    for (const metric of Object.keys(metrics)) expect(versions.page(metric), metric).toEqual(ours.page(metric));
  }
  return versions.unread;
}

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

  it(
    'rows whose samples are not read because they have not changed make no difference',
    () => {
      let unread = 0;
      fc.assert(
        fc.property(steps, (run) => {
          unread += compare(run);
        }),
        { numRuns: 150 },
      );
      expect(unread).toBeGreaterThan(0);
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
