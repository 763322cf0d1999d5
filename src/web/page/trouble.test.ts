import { describe, expect, it } from 'vitest';
import type { Trouble, TroubleRow } from '#api/trouble.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import { troubleOf } from '#kernel/trouble.ts';
import { COLUMNS, gradeOf, Rates, viewsOf } from './trouble.ts';

const DROPS = 'netsonde_packet_drops_total';
const METRICS = [
  DROPS,
  'netsonde_tcp_resets_total',
  'netsonde_tcp_retransmitted_segments_total',
  'netsonde_tcp_sent_segments_total',
  'netsonde_conntrack_entries',
  'netsonde_conntrack_entries_limit',
];

const START = Date.parse('2026-11-21T03:00:00Z');

function row(pod: string, values: readonly (number | null)[], kind: TroubleRow['kind'] = 'pod'): TroubleRow {
  return { kind, namespace: kind === 'pod' ? 'shop' : '', pod, netns: `netns of ${pod}`, gone: false, values };
}

function at(seconds: number, ...entities: TroubleRow[]): Trouble {
  return { collected: new Date(START + seconds * 1_000).toISOString(), metrics: METRICS, entities };
}

function ratesOf(...looks: Trouble[]): Rates {
  const rates = new Rates();
  for (const look of looks) rates.add(look);
  return rates;
}

const drops = (seconds: number, value: number | null) => at(seconds, row('web', [value]));
const dropRate = (rates: Rates) => rates.rate('netns of web', DROPS);

it('the agent has every metric that a column uses', () => {
  const { metrics } = troubleOf(new Aggregator([], () => false), new Date());
  const asked = new Set<string>();
  const spy = new Rates();
  spy.rate = (_, metric) => asked.add(metric).size;
  spy.value = (_, metric) => asked.add(metric).size;
  spy.add(at(0, row('', [], 'node')));
  for (const { read } of COLUMNS) read(spy, row('web', []));
  expect([...asked].sort()).toEqual([...metrics].sort());
});

describe('a rate', () => {
  it('needs two readings', () => {
    expect(dropRate(ratesOf(drops(0, 10)))).toBeNull();
    const rates = ratesOf(drops(0, 10), drops(10, 30));
    expect(dropRate(rates)).toBe(2);
    expect(rates.seconds).toBe(10);
  });

  it('continues over a counter that was reset', () => {
    expect(dropRate(ratesOf(drops(0, 1_000), drops(10, 1_010), drops(20, 5)))).toBe(0.75);
  });

  it('covers the last minute', () => {
    const looks = Array.from({ length: 13 }, (_, index) => drops(index * 10, index < 3 ? index * 1_000 : 2_000));
    const rates = ratesOf(...looks);
    expect(rates.seconds).toBe(60);
    expect(dropRate(rates)).toBe(0);
  });

  it('starts again if the page was hidden for a while', () => {
    const rates = ratesOf(drops(0, 10), drops(10, 20), drops(400, 1_000_000), drops(410, 1_000_010));
    expect(rates.seconds).toBe(10);
    expect(dropRate(rates)).toBe(1);
  });

  it('is missing for a probe that was off, and skips a reading without a number', () => {
    expect(dropRate(ratesOf(drops(0, null), drops(10, 1_000_000)))).toBeNull();
    expect(dropRate(ratesOf(drops(0, 10), drops(10, 20), drops(20, null), drops(30, 90), drops(40, 110)))).toBe(1.5);
  });

  it('does not count the same reading twice', () => {
    expect(ratesOf(drops(0, 10), drops(10, 20), drops(10, 20)).seconds).toBe(10);
  });

  it('of a new Pod covers the time since it was first seen', () => {
    const rates = ratesOf(at(0), at(10, row('web', [100])), at(20, row('web', [150])));
    expect(dropRate(rates)).toBe(5);
  });
});

describe('the line of a column', () => {
  const [column] = COLUMNS;
  const lineOf = (rates: Rates) => (column === undefined ? [] : rates.line(row('web', []), column));

  it('covers five minutes, at the place of each reading', () => {
    const looks = Array.from({ length: 100 }, (_, index) => drops(index * 10, index * 50));
    const rates = ratesOf(...looks);
    const line = lineOf(rates);
    expect(line).toHaveLength(30);
    expect(line[0]?.at).toBeCloseTo(1 / 30);
    expect(line.at(-1)).toEqual({ at: 1, value: 5, isAfterGap: false });
    expect(rates.seconds).toBe(60);
    expect(lineOf(rates)).toBe(line);
  });

  it('has a gap for the time in which the page was hidden, and no value where the probe was off', () => {
    const rates = ratesOf(drops(0, 0), drops(10, 10), drops(150, 20), drops(160, 40), drops(170, null));
    expect(lineOf(rates).map(({ value, isAfterGap }) => [value, isAfterGap])).toEqual([
      [1, false],
      [2, true],
      [null, false],
    ]);
  });
});

describe('the order', () => {
  const rates = ratesOf(
    at(
      0,
      row('', [0, 0, 0, 0, 10, 1_000], 'node'),
      row('web', [0, 0, 0, 0, 0, null]),
      row('db', [0, 0, 0, 0, 0, null]),
    ),
    at(
      10,
      row('', [0, 0, 0, 0, 10, 1_000], 'node'),
      row('web', [20, 0, 100, 1_000, 900, null]),
      row('db', [40, 0, 2, 1_000, 0, null]),
      row('cart', [5, 0, 0, 0, 0, null]),
    ),
  );

  it('is by the value farthest beyond its threshold', () => {
    const views = viewsOf(rates, '', '');
    expect(views.map(({ name }) => name)).toEqual(['shop/web', 'shop/db', 'the node', 'shop/cart']);
    // 10 % of the segments were retransmitted, and the threshold is 1 %.
    expect(views[0]?.score).toBeCloseTo(10);
    expect(views[1]?.score).toBe(4);
    expect(views.map(({ worst }) => worst.key)).toEqual(['retransmitted', 'drops', 'conntrack', 'drops']);
  });

  it('is by a column if one is selected', () => {
    expect(viewsOf(rates, '', 'drops').map(({ name }) => name)).toEqual([
      'shop/db',
      'shop/web',
      'the node',
      'shop/cart',
    ]);
    expect(viewsOf(rates, '', 'conntrack')[0]?.name).toBe('shop/web');
  });

  it('has only rows that match the search', () => {
    expect(viewsOf(rates, ' SHOP/W ', '').map(({ name }) => name)).toEqual(['shop/web']);
    expect(viewsOf(rates, 'nobody', '')).toEqual([]);
  });

  it('has no share of next to nothing', () => {
    // A rate of 0.2 per second is too low for a share.
    expect(viewsOf(rates, 'db', '')[0]?.values[2]).toBe(0);
    expect(viewsOf(rates, 'web', '')[0]?.values.at(-1)).toBe(0.9);
  });
});

it.each([
  [null, 'none'],
  [0, 'none'],
  [0.5, 'ok'],
  [1, 'notice'],
  [10, 'alert'],
] as const)('%s is %s', (value, grade) => expect(gradeOf(value, { notice: 1, alert: 10 })).toBe(grade));
