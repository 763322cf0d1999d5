import { beforeEach, describe, expect, it } from 'vitest';
import { HOLD_MAX_MS } from '#collectors/births.ts';
import { Scrapers } from './scrapers.ts';

const UNKNOWN = 77_000;

let nowMs: number;
let scrapers: Scrapers;

beforeEach(() => {
  nowMs = 0;
  scrapers = new Scrapers(() => nowMs);
});

interface Scraper {
  readonly connection: () => object;
  readonly everyMs: number;
  readonly firstMs: number;
}

/** Everyone's scrapes until then, in their order. @returns the hold after the last one */
function scrape(untilMs: number, ...all: readonly Scraper[]): number {
  const times = all.flatMap(({ connection, everyMs, firstMs }) =>
    Array.from({ length: Math.ceil((untilMs - firstMs) / everyMs) }, (_, nth) => ({
      connection,
      atMs: firstMs + nth * everyMs,
    })),
  );
  let holdMs = Number.NaN;
  for (const { connection, atMs } of times.sort((a, b) => a.atMs - b.atMs)) {
    nowMs = atMs;
    holdMs = scrapers.holdMs(connection());
  }
  return holdMs;
}

function server(everyMs: number, firstMs = 0): Scraper {
  const connection = {};
  return { connection: () => connection, everyMs, firstMs };
}

describe('what is known of scrapers', () => {
  it.each([
    [1_000, 3_250],
    [15_000, 20_750],
    [30_000, 39_500],
    [60_000, UNKNOWN],
    [120_000, HOLD_MAX_MS],
  ])('one that comes every %i ms', (everyMs, holdMs) => {
    expect(scrape(600_000, server(everyMs))).toBe(holdMs);
  });

  it('two of one address, 7 s apart: the slower one counts', () => {
    expect(scrape(300_000, server(15_000), server(15_000, 7_000))).toBe(20_750);
    expect(scrape(600_000, server(15_000, 300_000), server(30_000, 307_000))).toBe(39_500);
  });

  it('an interval is known after three scrapes, and after a start others are waited for', () => {
    const everySecond = server(1_000);
    expect(scrape(2_000, everySecond)).toBe(UNKNOWN);
    expect(scrape(9_000, server(1_000, 2_000))).toBe(UNKNOWN);
    expect(scrape(20_000, server(1_000, 10_000))).toBe(UNKNOWN);
  });

  it('a connection for each scrape tells nothing', () => {
    expect(scrape(600_000, { connection: () => ({}), everyMs: 1_000, firstMs: 0 })).toBe(UNKNOWN);
  });

  it('a connection that several share is known by the sum of its gaps', () => {
    const shared = {};
    const of = (firstMs: number) => ({ connection: () => shared, everyMs: 30_000, firstMs });
    expect(scrape(600_000, of(0), of(7_000))).toBe(77_000);
  });

  it('one that has gone is forgotten', () => {
    scrape(300_000, server(30_000));
    expect(scrape(600_000, server(1_000, 310_000))).toBe(3_250);
  });

  it('somebody new is waited for', () => {
    const one = server(1_000);
    expect(scrape(100_000, one)).toBe(3_250);
    nowMs = 100_100;
    expect(scrapers.holdMs({})).toBe(UNKNOWN);
  });

  it('of more connections than are remembered nobody is taken for known', () => {
    expect(scrape(100_000, ...Array.from({ length: 65 }, () => server(1_000)))).toBe(UNKNOWN);
  });

  it('is of no matter where the configuration says it', () => {
    scrapers.intervalMs = 30_000;
    expect(scrapers.holdMs({})).toBe(39_500);
  });
});
