import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { growthBetween } from '#api/flow_rates.ts';
import type { EdgeSummary, FlowsSummary } from '#api/flows.ts';
import { NO_REQUESTS } from '#api/request_rates.ts';
import { ACTIVE } from '#core/inert.ts';
import { flowTable } from './flow_table.ts';

const ALL = { columns: Number.POSITIVE_INFINITY, lines: Number.POSITIVE_INFINITY };
const FIRST = '2026-01-01T00:00:00.000Z';
const SECOND = '2026-01-01T00:00:04.000Z';

function edge(more: Partial<EdgeSummary> = {}): EdgeSummary {
  return {
    namespace: 'shop',
    pod: 'cart-7d4b9c6f5-x2k9q',
    netns: '2',
    role: 'client',
    peer: '10.0.0.7',
    peerKind: 'unknown',
    peerNamespace: '',
    peerName: '',
    dnsNames: [],
    port: 5_432,
    open: 3,
    connections: 1_200,
    failed: {},
    sentBytes: 1_000_000,
    receivedBytes: 2_500,
    sentSegments: 1_000,
    retransmittedSegments: 15,
    roundTripSeconds: 0.0005,
    roundTripCount: 4,
    ...more,
  };
}

function answer(edges: EdgeSummary[], more: Partial<FlowsSummary> = {}): FlowsSummary {
  return { node: 'n1', collectedAt: FIRST, edges, omitted: 0, rest: [], ...more };
}

const WIDE = [
  edge(),
  edge({ pod: 'web', peer: 'fd00:1234:5678:9abc:def0:1234:5678:9abc', failed: { unreachable: 12, timeout: 3 } }),
  edge({ namespace: '', pod: '', role: 'server', port: 9_100, roundTripSeconds: null, sentSegments: 0 }),
];

it('shows totals, worst first, with all columns where there is room', () => {
  expect(flowTable(answer(WIDE), undefined, ALL)).toBe(`n1: totals at 2026-01-01T00:00:00Z
POD                        ROLE    PEER                                     PORT  OPEN  CONNS  FAILED  CAUSE         RETR  SENT  RECV    RTT
shop/web                   client  fd00:1234:5678:9abc:def0:1234:5678:9abc  5432     3   1.2k      15  unreachable+  1.5%    1M  2.5k  500us
shop/cart-7d4b9c6f5-x2k9q  client  10.0.0.7                                 5432     3   1.2k       0                1.5%    1M  2.5k  500us
node                       server  10.0.0.7                                 9100     3   1.2k       0                   -    1M  2.5k      -
`);
});

it('shows the names of peers, or their addresses where they have none or on request', () => {
  const edges = [
    edge({ port: 1, peerKind: 'service', peerNamespace: 'shop', peerName: 'db' }),
    edge({ port: 2, peerKind: 'external', peerName: 'datacenter' }),
    edge({ port: 3, peerKind: 'external', peerName: '' }),
    edge({ port: 4, peerKind: 'self' }),
    edge({ port: 5, peerKind: null }),
    edge({ port: 6, peerKind: 'external', dnsNames: ['pay.example', 'api.example'] }),
  ];
  const peers = (addresses: boolean) =>
    flowTable(answer(edges), undefined, { ...ALL, addresses })
      .split('\n')
      .slice(2)
      .flatMap((line) => line.split(/ {2,}/)[2] ?? []);
  expect(peers(false)).toEqual(['shop/db', 'datacenter', '10.0.0.7', 'self', '10.0.0.7', 'pay.example (+1)']);
  expect(peers(true)).toEqual(edges.map(() => '10.0.0.7'));
});

it('fits 80 columns: drops what is least important, and cuts names in the middle', () => {
  const table = flowTable(answer(WIDE), undefined, { columns: 80, lines: 24 });
  expect(table).toBe(`n1: totals at 2026-01-01T00:00:00Z
POD                  ROLE    PEER                 PORT  FAILED  RETR  SENT  RECV
shop/web             client  fd00:1234…5678:9abc  5432      15  1.5%    1M  2.5k
shop/cart…6f5-x2k9q  client  10.0.0.7             5432       0  1.5%    1M  2.5k
node                 server  10.0.0.7             9100       0     -    1M  2.5k
`);
  expect(Math.max(...table.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);
  for (const title of ['POD', 'PEER', 'PORT', 'FAILED', 'RETR', 'SENT', 'RECV']) expect(table).toContain(title);
});

describe('rates', () => {
  const before = answer([edge({ failed: { refused: 2 } }), edge({ port: 80 })]);
  const grown = edge({
    failed: { refused: 5, timeout: 1 },
    sentBytes: 1_008_000,
    sentSegments: 1_100,
    connections: 1_202,
  });

  it('are the growth between two answers, for each second; failures are their number', () => {
    const table = flowTable(answer([edge({ port: 80 }), grown], { collectedAt: SECOND }), before, ALL);
    const lines = table.split('\n').map((line) => line.trim().split(/ {2,}/));
    expect(lines[0]).toEqual(['n1: 4.0 s up to 2026-01-01T00:00:04Z']);
    expect(lines[1]?.slice(4)).toEqual(['OPEN', 'CONNS/S', 'FAILED', 'CAUSE', 'RETR', 'SENT/S', 'RECV/S', 'RTT']);
    expect(lines[2]?.slice(3)).toEqual(['5432', '3', '0.5', '4', 'refused+', '0%', '2k', '0', '500us']);
    expect(lines[3]?.slice(3)).toEqual(['80', '3', '0', '0', '-', '0', '0', '500us']);
  });

  it('of an edge that is new, or began again, are of all that it has; they are unknown where it may have been left out', () => {
    const fresh = edge({ port: 81, sentBytes: 400 });
    const restarted = edge({ sentBytes: 8, connections: 1 });
    const later = answer([fresh, restarted], { collectedAt: SECOND });
    const countsOf = (earlier: FlowsSummary, port: number) =>
      growthBetween(earlier, later).find((row) => row.edge.port === port)?.counts;
    expect(countsOf(before, 81)).toMatchObject({ sentBytes: 400 });
    expect(countsOf(before, 5_432)).toMatchObject({ sentBytes: 8, connections: 1 });
    expect(countsOf({ ...before, omitted: 1 }, 81)).toBeUndefined();
    expect(flowTable(later, { ...before, omitted: 1 }, ALL)).toMatch(/ 81 +3 +- +- +- +- +- /);
  });

  it('are never negative, whatever the totals do', () => {
    const totals = fc.record({
      connections: fc.nat(),
      sentBytes: fc.nat(),
      receivedBytes: fc.nat(),
      sentSegments: fc.nat(),
      retransmittedSegments: fc.nat(),
      failed: fc.dictionary(fc.constantFrom('refused', 'timeout'), fc.nat()),
    });
    fc.assert(
      fc.property(totals, totals, (earlier, later) => {
        const [row] = growthBetween(answer([edge(earlier)]), answer([edge(later)], { collectedAt: SECOND }));
        const missing = { failed: { none: -1 }, roundTrips: { count: -1 }, requests: undefined };
        const { failed, roundTrips, requests, ...counts } = row?.counts ?? missing;
        expect(requests).toBe(NO_REQUESTS);
        for (const value of [counts, failed, roundTrips].flatMap((of) => Object.values(of)))
          expect(value).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('a table', () => {
  const HOSTILE = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({ unit: fc.constantFrom('\n', '\u001b[2J', '\u202e', '\t', 'x', '\ud800', '日', '…'), maxLength: 100 }),
  );

  it('never exceeds its room, and shows hostile names as harmless text', () => {
    const edges = fc.array(
      fc.record({ namespace: fc.option(HOSTILE), pod: fc.option(HOSTILE), role: fc.constantFrom('client', 'server') }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(
        edges,
        HOSTILE,
        fc.constantFrom(80, 120),
        fc.integer({ min: 4, max: 40 }),
        (given, node, columns, lines) => {
          const table = flowTable(answer(given.map(edge), { node }), undefined, { columns, lines });
          const shown = table.trimEnd().split('\n');
          expect(shown.length).toBeLessThanOrEqual(lines);
          for (const line of shown) {
            expect(line).not.toMatch(new RegExp(ACTIVE.source, 'u'));
            expect([...line].length).toBeLessThanOrEqual(columns);
          }
        },
      ),
    );
  });

  it('says how many edges it does not show, and what to do', () => {
    const many = Array.from({ length: 30 }, (_, port) => edge({ port }));
    const table = flowTable(answer(many, { omitted: 500 }), undefined, { columns: 120, lines: 13 });
    expect(table.trimEnd().split('\n')).toHaveLength(13);
    expect(table).toContain('520 more: select with --pod, --peer, --port or --failed');
  });

  it('shows counts without a row of their own as *, and says where there is nothing', () => {
    const rest = [edge({ peer: '*', port: null, netns: null })];
    expect(flowTable(answer([], { rest }), undefined, ALL)).toMatch(/client {2}\* +\* /);
    expect(flowTable(answer([]), undefined, ALL)).toBe('n1: totals at 2026-01-01T00:00:00Z\nno connections\n');
  });
});
