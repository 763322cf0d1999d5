import { beforeEach, describe, expect, it } from 'vitest';
import { HOLD_MAX_MS } from '#collectors/births.ts';
import { type Peer, Scrapers } from './scrapers.ts';

const UNKNOWN = 77_000;

let nowMs: number;
let scrapers: Scrapers;

beforeEach(() => {
  nowMs = 0;
  scrapers = new Scrapers(() => nowMs);
});

interface Scraper {
  readonly connection: () => Peer;
  readonly everyMs: number;
  readonly firstMs: number;
}

/** Simulates all scrapes until `untilMs`, in order of time. @returns the hold time after the last scrape */
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
    ({ holdMs } = scrapers.asked(connection(), 0));
  }
  return holdMs;
}

function from(remoteAddress: string): Peer {
  return { remoteAddress };
}

function server(everyMs: number, firstMs = 0): Scraper {
  const connection = from('10.0.0.1');
  return { connection: () => connection, everyMs, firstMs };
}

describe('knowledge about scrapers', () => {
  it.each([
    [1_000, 3_250],
    [15_000, 20_750],
    [30_000, 39_500],
    [60_000, UNKNOWN],
    [120_000, HOLD_MAX_MS],
  ])('a scraper that comes every %i ms', (everyMs, holdMs) => {
    expect(scrape(600_000, server(everyMs))).toBe(holdMs);
  });

  it('two of one address, 7 s apart: the slower one counts', () => {
    expect(scrape(300_000, server(15_000), server(15_000, 7_000))).toBe(20_750);
    expect(scrape(600_000, server(15_000, 300_000), server(30_000, 307_000))).toBe(39_500);
  });

  it('an interval is known after three scrapes, and the agent waits for others after a start', () => {
    const everySecond = server(1_000);
    expect(scrape(2_000, everySecond)).toBe(UNKNOWN);
    expect(scrape(9_000, server(1_000, 2_000))).toBe(UNKNOWN);
    expect(scrape(20_000, server(1_000, 10_000))).toBe(UNKNOWN);
  });

  it('a connection for each scrape shows nothing', () => {
    expect(scrape(600_000, { connection: () => from('10.0.0.1'), everyMs: 1_000, firstMs: 0 })).toBe(UNKNOWN);
  });

  it('a connection that several share is known by the sum of its gaps', () => {
    const shared = from('10.0.0.1');
    const of = (firstMs: number) => ({ connection: () => shared, everyMs: 30_000, firstMs });
    expect(scrape(600_000, of(0), of(7_000))).toBe(77_000);
  });

  it('a scraper that has gone is forgotten', () => {
    scrape(300_000, server(30_000));
    expect(scrape(600_000, server(1_000, 310_000))).toBe(3_250);
  });

  it('a new scraper is waited for once it has come again', () => {
    expect(scrape(100_000, server(1_000))).toBe(3_250);
    const second = from('10.0.0.2');
    expect(scrapers.asked(second, 0).holdMs).toBe(3_250);
    nowMs += 30_000;
    expect(scrapers.asked(second, 0).holdMs).toBe(UNKNOWN);
    nowMs += 30_000;
    expect(scrapers.asked(second, 0).holdMs).toBe(39_500);
  });

  it('a client that comes once is not a scraper, even if there are many', () => {
    const one = server(1_000);
    scrape(100_000, one);
    for (let host = 0; host < 200; host++) scrapers.asked(from(`10.1.0.${host}`), 0);
    nowMs += 1_000;
    expect(scrapers.asked(one.connection(), 0).holdMs).toBe(3_250);
    // A single request from the address of a known scraper, over a new connection, does not count as a scraper either.
    scrapers.asked(from('10.0.0.1'), 0);
    nowMs += 1_000;
    expect(scrapers.asked(one.connection(), 0).holdMs).toBe(3_250);
  });

  it('an address that makes a new connection each time is waited for from its second scrape on', () => {
    scrape(100_000, server(1_000));
    expect(scrapers.asked(from('10.0.0.2'), 0).holdMs).toBe(3_250);
    nowMs += 60_000;
    expect(scrapers.asked(from('10.0.0.2'), 0).holdMs).toBe(UNKNOWN);
  });

  it('a scraper that comes while the agent starts is waited for at once', () => {
    const one = server(1_000);
    scrape(5_000, one);
    scrapers.asked(from('10.0.0.2'), 0);
    expect(scrape(61_000, server(1_000, 5_000))).toBe(UNKNOWN);
  });

  it('no interval is known if there are more connections than are remembered', () => {
    expect(scrape(100_000, ...Array.from({ length: 65 }, () => server(1_000)))).toBe(UNKNOWN);
  });

  it('is irrelevant if the configuration gives the interval', () => {
    scrapers.intervalMs = 30_000;
    expect(scrapers.asked(from('10.0.0.1'), 0)).toEqual({ holdMs: 39_500, seen: undefined });
  });
});

describe('the page that all scrapers have seen', () => {
  let a: Peer;
  let b: { remoteAddress: string; destroyed?: boolean };

  /** Lets each scraper scrape once. @returns the hold time of the last scrape */
  function scrapeBoth(thread = 0) {
    let seen: unknown;
    for (const connection of [a, b]) {
      nowMs += 500;
      ({ seen } = scrapers.asked(connection, thread));
      scrapers.served(connection, { thread, kernelMs: nowMs + 7_000, agentMs: nowMs });
    }
    return seen;
  }

  beforeEach(() => {
    [a, b] = [from('10.0.0.1'), { remoteAddress: '10.0.0.1' }];
    for (let round = 0; round < 20; round++) scrapeBoth();
  });

  it('is the page of the scraper that came longest ago', () => {
    expect(nowMs).toBe(20_000);
    expect(scrapeBoth()).toEqual({ thread: 0, kernelMs: 27_000, agentMs: 20_000 });
  });

  it('does not advance while a scraper did not get its whole page', () => {
    nowMs += 500;
    scrapers.asked(a, 0);
    nowMs += 500;
    expect(scrapers.asked(b, 0).seen).toEqual({ thread: 0, kernelMs: 26_500, agentMs: 19_500 });
  });

  it('is not known while a scraper came again and its interval is unknown, or if one comes irregularly', () => {
    const other = from('10.0.0.2');
    scrapers.asked(other, 0);
    expect(scrapeBoth()).toEqual({ thread: 0, kernelMs: 27_000, agentMs: 20_000 });
    scrapers.asked(other, 0);
    expect(scrapeBoth()).toBeUndefined();
    const shared = from('10.0.0.3');
    for (const gap of [1_000, 9_000, 1_000, 9_000, 1_000, 9_000]) {
      nowMs += gap;
      scrapers.asked(shared, 0);
      scrapers.served(shared, { thread: 0, kernelMs: nowMs, agentMs: nowMs });
    }
    expect(scrapers.asked(shared, 0).seen).toBeUndefined();
  });

  it('is not known after a scraper has gone: it may not have received the page', () => {
    b.destroyed = true;
    nowMs += 500;
    expect(scrapers.asked(a, 0)).toEqual({ holdMs: 3_250, seen: undefined });
  });

  it('starts over with another kernel thread', () => {
    expect(scrapeBoth(1)).toBeUndefined();
    expect(scrapeBoth(1)).toEqual({ thread: 1, kernelMs: 28_000, agentMs: 21_000 });
  });
});
