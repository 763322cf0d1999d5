import { describe, expect, it } from 'vitest';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import { FlowOracle } from '../support/flow_oracle.ts';
import { type FlowRow, type FlowSums, mergeSums } from '../support/flow_sums.ts';

const POD = 'nsa';
const NOTHING: FlowSums = { rows: [], counters: {}, listenDrops: {} };

interface Sent {
  readonly peer?: string;
  readonly port?: number;
  readonly sent: readonly [number, number];
  readonly failed?: Record<string, number>;
}

function sums(...rows: readonly Sent[]): FlowSums {
  const full = rows.map(({ peer = '10.0.0.1', port = 80, sent, failed = {} }): FlowRow => {
    const zero = [0, 0] as const;
    const of = { netns: POD, role: 'client', peer, port } as const;
    return { ...of, sent, received: zero, connections: zero, open: zero, failed, ends: {} };
  });
  return { ...NOTHING, rows: full };
}

type Line = readonly [peer: string, port: number | string, value: number];

function page(...lines: readonly Line[]): Exposition {
  const text = lines.map(
    ([peer, port, value]) =>
      `netsonde_flow_sent_bytes_total{namespace="",pod="${POD}",role="client",peer="${peer}",port="${port}"} ${value}`,
  );
  return parseExposition(text.join('\n'));
}

/** Returns an oracle for an agent that was started before any traffic. */
function fromZero(): FlowOracle {
  const oracle = new FlowOracle([POD], NOTHING);
  expect(oracle.rest(page(), NOTHING).violations).toEqual([]);
  return oracle;
}

const EDGE = 'nsa client 10.0.0.1 80 sent';

describe('a page under traffic', () => {
  it('is right between the sums at the previous request and those after the response', () => {
    const oracle = fromZero();
    expect(oracle.scrape('one', page(), NOTHING, NOTHING)).toEqual([]);
    expect(
      oracle.scrape('one', page(['10.0.0.1', 80, 5], ['*', '*', 2]), sums({ sent: [6, 9] }), sums({ sent: [7, 9] })),
    ).toEqual([]);
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 5], ['*', '*', 2]), NOTHING, sums({ sent: [9, 9] }))).toEqual([]);
  });

  it('fails if an edge or the total is above the sum after the response, and names both', () => {
    const found = fromZero().scrape('one', page(['10.0.0.1', 80, 10]), NOTHING, sums({ sent: [7, 9] }));
    expect(found).toEqual([
      `${EDGE}: 10 is 1 above the generator's sum after the response`,
      "nsa sent: 10 is 1 above the generator's sum after the response",
    ]);
  });

  it('fails if the rest is too high', () => {
    const shown = page(['10.0.0.1', 80, 9], ['*', '*', 3]);
    expect(fromZero().scrape('one', shown, NOTHING, sums({ sent: [9, 9] }))).toEqual([
      "nsa sent: 12 is 3 above the generator's sum after the response",
    ]);
  });

  it('fails if an edge is shown that the generator does not have', () => {
    const shown = page(['10.0.0.2', 80, 1]);
    expect(fromZero().scrape('one', shown, NOTHING, sums({ sent: [9, 9] }))).toEqual([
      "nsa client 10.0.0.2 80 sent: 1 is 1 above the generator's sum after the response",
    ]);
  });

  it("fails if the total is below the sum before the same scraper's previous request", () => {
    const oracle = fromZero();
    const before = sums({ sent: [8, 9] });
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 5]), before, before)).toEqual([]);
    expect(oracle.scrape('two', page(['10.0.0.1', 80, 6]), before, before)).toEqual([]);
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 7]), before, before)).toEqual([
      "nsa sent: 7 is 1 below the generator's sum at the previous scrape",
    ]);
  });

  it('fails if an edge falls, though the total does not', () => {
    const oracle = fromZero();
    const after = sums({ sent: [9, 9] });
    oracle.scrape('one', page(['10.0.0.1', 80, 5]), NOTHING, after);
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 3], ['*', '*', 4]), NOTHING, after)).toEqual([
      `${EDGE}: 3 is 2 below the same scraper's previous value`,
    ]);
  });

  it('fails if the total falls, because an edge is no longer shown', () => {
    const oracle = fromZero();
    const after = sums({ sent: [9, 9] });
    oracle.scrape('one', page(['10.0.0.1', 80, 5], ['*', '*', 2]), NOTHING, after);
    expect(oracle.scrape('one', page(['*', '*', 2]), NOTHING, after)).toEqual([
      "nsa sent: 2 is 5 below the same scraper's previous value",
    ]);
    expect(oracle.scrape('one', page(['*', '*', 2], ['*moved-1', '*', 5]), NOTHING, after)).toEqual([]);
  });
});

describe('a page at rest', () => {
  it('is right if all is equal', () => {
    const now = sums({ sent: [9, 9] }, { peer: '10.0.0.2', sent: [4, 4] });
    const shown = page(['10.0.0.1', 80, 9], ['10.0.0.2', 80, 4]);
    expect(fromZero().rest(shown, now, true)).toMatchObject({ violations: [], exact: 2, behind: [] });
  });

  it.each([
    ['less', 8, 'nsa sent: 8 at rest, 1 less than the generator has'],
    ['more', 10, 'nsa sent: 10 at rest, 1 more than the generator has'],
  ])('fails where the total is one byte %s', (_, value, expected) => {
    const { violations } = fromZero().rest(page(['*', '*', value]), sums({ sent: [9, 9] }));
    expect(violations).toEqual([expected]);
  });

  it('fails if an edge has the bytes of another', () => {
    const now = sums({ sent: [9, 9] }, { peer: '10.0.0.2', sent: [4, 4] });
    const { violations, behind } = fromZero().rest(page(['10.0.0.1', 80, 10], ['10.0.0.2', 80, 3]), now);
    expect(violations).toEqual([`${EDGE}: 10 at rest, 1 more than the generator has`]);
    expect(behind).toEqual(['nsa client 10.0.0.2 80 sent: 3 at rest, 1 less than the generator has']);
  });

  it('fails if an edge is missing that must be shown', () => {
    const now = sums({ sent: [9, 9] });
    expect(fromZero().rest(page(['*', '*', 9]), now).violations).toEqual([]);
    expect(fromZero().rest(page(['*', '*', 9]), now, true).violations).toEqual([
      `${EDGE}: not shown, the generator has 9`,
    ]);
  });

  it('fails if a Pod shows nothing at all', () => {
    expect(fromZero().rest(page(), sums({ sent: [9, 9] })).violations).toEqual([
      'nsa sent: 0 at rest, 9 less than the generator has',
    ]);
  });

  it('fails if an edge that was shown all the time has not grown by what was sent since', () => {
    const oracle = fromZero();
    oracle.rest(page(['10.0.0.1', 80, 3], ['*', '*', 6]), sums({ sent: [9, 9] }));
    const later = oracle.rest(page(['10.0.0.1', 80, 7], ['*', '*', 7]), sums({ sent: [14, 14] }));
    expect(later).toMatchObject({
      violations: [],
      exact: 0,
      behind: [`${EDGE}: 7 at rest, 1 less than the generator has`],
    });
    const tooMuch = oracle.rest(page(['10.0.0.1', 80, 9], ['*', '*', 6]), sums({ sent: [15, 15] }));
    expect(tooMuch.violations).toEqual([`${EDGE}: 9 at rest, 1 more than the generator has`]);
  });

  it('compares failed connections by cause', () => {
    const now = sums({ sent: [0, 0], failed: { refused: 2, timeout: 1 } });
    const line = (cause: string, value: number) =>
      `netsonde_flow_failed_connections_total{namespace="",pod="nsa",role="client",peer="10.0.0.1",port="80",cause="${cause}"} ${value}`;
    const wrong = parseExposition([line('refused', 1), line('timeout', 2)].join('\n'));
    expect(fromZero().rest(wrong, now).violations).toEqual([
      'nsa failed refused: 1 at rest, 1 less than the generator has',
      'nsa failed timeout: 2 at rest, 1 more than the generator has',
      'nsa client 10.0.0.1 80 failed timeout: 2 at rest, 1 more than the generator has',
    ]);
  });
});

describe('an agent that was started under traffic', () => {
  const before = sums({ sent: [100, 120] });
  const first = sums({ sent: [130, 150] });

  it('may lack what was sent before, and at most what was sent until its first page', () => {
    const oracle = new FlowOracle([POD], before);
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 50]), before, first)).toEqual([]);
    expect(oracle.scrape('one', page(['10.0.0.1', 80, 51]), before, first)).toEqual([
      `${EDGE}: 51 is 1 above the generator's sum after the response`,
      "nsa sent: 51 is 1 above the generator's sum after the response",
    ]);
  });

  it('lacks the same at each later moment at rest', () => {
    const oracle = new FlowOracle([POD], before);
    oracle.scrape('one', page(['10.0.0.1', 80, 10]), before, first);
    expect(oracle.rest(page(['10.0.0.1', 80, 60]), sums({ sent: [200, 200] })).violations).toEqual([]);
    expect(oracle.rest(page(['10.0.0.1', 80, 71]), sums({ sent: [210, 210] })).violations).toEqual([
      'nsa sent: 71 at rest, 1 more than the generator has',
      `${EDGE}: 71 at rest, 1 more than the generator has`,
    ]);
    expect(oracle.rest(page(['10.0.0.1', 80, 69]), sums({ sent: [210, 210] })).violations).toEqual([
      'nsa sent: 69 at rest, 1 less than the generator has',
    ]);
  });

  it('fails if it counts from before its start', () => {
    const oracle = new FlowOracle([POD], before);
    oracle.scrape('one', page(['10.0.0.1', 80, 10]), before, first);
    expect(oracle.rest(page(['10.0.0.1', 80, 200]), sums({ sent: [200, 200] })).violations).toEqual([
      'nsa sent: 200 at rest, 100 more than the generator has',
      `${EDGE}: 200 at rest, 100 more than the generator has`,
    ]);
  });
});

it('adds the sums of several generators', () => {
  const merged = mergeSums([
    { ...sums({ sent: [1, 2], failed: { refused: 1 } }), counters: { nsa: { TcpActiveOpens: 1 } } },
    { ...sums({ sent: [3, 4], failed: { refused: 1, timeout: 1 } }, { port: 81, sent: [5, 5] }) },
    { ...NOTHING, counters: { nsa: { TcpActiveOpens: 2 }, nsb: { TcpPassiveOpens: 1 } } },
  ]);
  expect(merged.rows.map(({ port, sent, failed }) => [port, sent, failed])).toEqual([
    [80, [4, 6], { refused: 2, timeout: 1 }],
    [81, [5, 5], {}],
  ]);
  expect(merged.counters).toEqual({ nsa: { TcpActiveOpens: 3 }, nsb: { TcpPassiveOpens: 1 } });
});
