import { describe, expect, it } from 'vitest';
import type { EdgeSummary } from '#api/flows.ts';
import { FlowBook } from './book.ts';
import { arranged, inOrderOf, othersOf } from './flow_list.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const ALL = { q: '', role: '', only: '', by: '' };

function edge(more: Partial<EdgeSummary> = {}): EdgeSummary {
  return {
    namespace: 'shop',
    pod: 'web',
    netns: '2',
    role: 'client',
    peer: '10.0.0.7',
    peerKind: 'unknown',
    peerNamespace: '',
    peerName: '',
    dnsNames: [],
    port: 80,
    open: 1,
    connections: 0,
    failed: {},
    sentBytes: 0,
    receivedBytes: 0,
    sentSegments: 0,
    retransmittedSegments: 0,
    roundTripSeconds: null,
    roundTripCount: 0,
    ...more,
  };
}

interface More {
  readonly rest?: EdgeSummary[];
  readonly omitted?: number;
}

function read(book: FlowBook, second: number, edges: EdgeSummary[], { rest = [], omitted = 0 }: More = {}): void {
  book.add({ node: 'n1', collectedAt: new Date(START + second * 1_000).toISOString(), edges, omitted, rest });
}

/** Returns the readings of edges that have grown from zero to these totals within ten seconds. */
function grown(edges: EdgeSummary[], more: More = {}): FlowBook {
  const book = new FlowBook();
  read(book, 0, []);
  read(book, 10, edges, more);
  return book;
}

const QUIET = edge({ port: 1, sentBytes: 10 });
const LOUD = edge({ port: 2, sentBytes: 1_000_000, connections: 5 });
const REFUSED = edge({ port: 3, failed: { refused: 20 } });
const SLOW = edge({ port: 4, sentBytes: 500, roundTripSeconds: 0.2, roundTripCount: 4 });
const SERVER = edge({ role: 'server', peer: '10.0.0.9', port: 8_080, receivedBytes: 300 });
const EDGES = [QUIET, LOUD, REFUSED, SLOW, SERVER];

const portsOf = (filter: object, edges = EDGES) =>
  arranged(grown(edges).edges, { ...ALL, ...filter }).map(({ edge: { port } }) => port);

describe('edges', () => {
  it('are sorted worst first, and without trouble by bytes', () => {
    expect(portsOf({})).toEqual([3, 4, 2, 8_080, 1]);
  });

  it.each([
    ['bytes', [2, 4, 8_080, 1, 3]],
    ['connects', [2, 8_080, 1, 3, 4]],
    ['failed', [3, 2, 8_080, 1, 4]],
    ['roundTrip', [4, 8_080, 1, 2, 3]],
    ['name', [8_080, 1, 2, 3, 4]],
  ])('are sorted by %s', (by, ports) => {
    expect(portsOf({ by })).toEqual(ports);
  });

  it('are found by a part of client, server and port', () => {
    expect(portsOf({ q: ' SHOP/web → 10.0.0.7:3' })).toEqual([3]);
    expect(portsOf({ q: '10.0.0.9 → shop/web:8080' })).toEqual([8_080]);
    expect(portsOf({ role: 'server' })).toEqual([8_080]);
    expect(portsOf({ only: 'trouble' })).toEqual([3, 4]);
    expect(portsOf({ q: 'bank' })).toEqual([]);
  });

  it('run from the client to the server, with IPv6 addresses in brackets', () => {
    const names = grown([
      edge({ peer: 'fd00::7' }),
      edge({ role: 'server', peer: 'fd00::9', port: 443 }),
      edge({ namespace: '', pod: '' }),
      edge({ namespace: null, pod: null, port: 81 }),
    ]).edges.map(({ name }) => name);
    expect(names).toEqual([
      'shop/web → [fd00::7]:80',
      'fd00::9 → shop/web:443',
      'the node → 10.0.0.7:80',
      'unknown → 10.0.0.7:81',
    ]);
  });

  it('have averages, and shares of nothing are unknown', () => {
    const [view] = arranged(grown([LOUD]).edges, ALL);
    expect(view?.numbers).toEqual({ bytes: 100_000, connects: 0.5, failed: 0, retransmitted: null, roundTrip: null });
    const book = new FlowBook();
    read(book, 0, [LOUD]);
    expect(book.edges[0]?.numbers.bytes).toBeNull();
    expect(book.edges[0]?.verdict).toBeUndefined();
  });

  it('keep the order that was held; new ones come last', () => {
    const { edges } = grown(EDGES);
    const ids = [SLOW, QUIET].map((one) => edges.find(({ edge: { port } }) => port === one.port)?.id ?? '');
    expect(inOrderOf(ids, arranged(edges, ALL)).map(({ edge: { port } }) => port)).toEqual([4, 1, 3, 2, 8_080]);
  });

  it('have a line of the number in trouble, at its place in five minutes', () => {
    const book = new FlowBook();
    read(book, 0, []);
    read(book, 150, [REFUSED]);
    read(book, 154, [edge({ port: 3, failed: { refused: 40 } })]);
    const [view] = book.edges;
    expect([view?.measure, view?.line('failed')]).toEqual(['failed', [{ at: 1, value: 1, isAfterGap: false }]]);
    expect(view?.line('failed')).toBe(view?.line('failed'));
  });
});

describe('the last row', () => {
  const rest = [
    edge({ peer: '*', port: null, netns: null, sentBytes: 70 }),
    edge({ role: 'server', peer: '*', port: null, netns: null, sentBytes: 7 }),
  ];
  const sumOf = (book: FlowBook, filter: object, role = '') =>
    othersOf(book, arranged(book.edges, { ...ALL, ...filter }), role);

  it('and the other rows add up to all traffic, whatever the filter', () => {
    const book = grown(EDGES, { rest });
    const all = [...EDGES, ...rest].reduce((sum, one) => sum + one.sentBytes + one.receivedBytes, 0) / 10;
    for (const filter of [{}, { q: ':2' }, { only: 'trouble' }, { q: 'nothing' }]) {
      const shown = arranged(book.edges, { ...ALL, ...filter });
      const rows = shown.reduce((sum, { numbers }) => sum + (numbers.bytes ?? 0), 0);
      expect(rows + (othersOf(book, shown, '').numbers.bytes ?? 0)).toBeCloseTo(all, 6);
    }
  });

  it('is of the chosen role only', () => {
    const { edges, numbers } = sumOf(grown(EDGES, { rest }), { role: 'server' }, 'server');
    expect([edges, numbers.bytes]).toEqual([0, 0.7]);
  });

  it('is unknown before the second reading', () => {
    const book = new FlowBook();
    read(book, 0, EDGES, { rest });
    expect(sumOf(book, {}).numbers.bytes).toBeNull();
  });
});

it('a reason why there are no flows ends with the next answer', () => {
  const book = grown([QUIET]);
  book.unavailable = 'the probe flow is off';
  read(book, 14, [QUIET]);
  expect(book.unavailable).toBe('');
});
