import { beforeEach, describe, expect, it } from 'vitest';
import type { FlowsSummary, RequestSummary } from '#api/flows.ts';
import { RequestBook } from './book.ts';
import { originsOf } from './origin.ts';
import { arranged, othersOf, type RequestFilter } from './request_list.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const ALL: RequestFilter = { q: '', role: '', protocol: '', only: '', by: '' };

function edge(more: Partial<RequestSummary> = {}): RequestSummary {
  return {
    namespace: 'shop',
    pod: 'web',
    workload: 'web',
    netns: '2',
    role: 'client',
    peer: '10.0.0.7',
    peerKind: 'service',
    peerNamespace: 'shop',
    peerName: 'cart',
    dnsNames: [],
    port: 80,
    protocol: 'http1',
    requests: 0,
    failed: 0,
    declined: 0,
    unread: 0,
    seconds: 0,
    durations: [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...more,
  };
}

const answered = (requests: number, bucket: number, more: Partial<RequestSummary> = {}) =>
  edge({
    requests,
    durations: edge().durations.map((_, index) => (index === bucket ? requests : 0)),
    // The longest durations of the bucket.
    seconds: requests * 256e-6 * 4 ** bucket,
    ...more,
  });

const CALM = answered(1_000, 1, { port: 1 });
const BUSY = answered(5_000, 2, { port: 2 });
const FAILING = answered(100, 1, { port: 3, failed: 30 });
const SLOW = answered(100, 7, { port: 4 });
const NAMES = answered(200, 0, { port: 53, protocol: 'dns_udp', declined: 200 });
const SERVER = answered(50, 1, { role: 'server', port: 8_080, peerKind: 'unknown', peerName: '' });
const EDGES = [CALM, BUSY, FAILING, SLOW, NAMES, SERVER];

let book: RequestBook;

function read(second: number, edges: RequestSummary[], rest: RequestSummary[] = [], omitted = 0): void {
  const requests: FlowsSummary['requests'] = { edges, rest, omitted, connections: [] };
  const collectedAt = new Date(START + second * 1_000).toISOString();
  book.add({ node: 'n1', collectedAt, edges: [], omitted: 0, rest: [], requests });
}

beforeEach(() => {
  book = new RequestBook();
  read(0, []);
});

const ports = (filter: Partial<RequestFilter> = {}) =>
  arranged(book.edges, { ...ALL, ...filter }).map(({ edge: { port } }) => port);

describe('edges', () => {
  beforeEach(() => read(10, EDGES));

  it('are sorted worst first, and without trouble by requests', () => {
    expect(ports()).toEqual([3, 53, 4, 2, 1, 8_080]);
  });

  it.each([
    ['rate', [2, 1, 53, 3, 4, 8_080]],
    ['failed', [3, 8_080, 1, 2, 4, 53]],
    ['p99', [4, 2, 8_080, 1, 3, 53]],
  ])('are sorted by %s', (by, expected) => {
    expect(ports({ by })).toEqual(expected);
  });

  it('are found by name, role, protocol and trouble', () => {
    expect(ports({ q: 'shop/web → shop/cart:3' })).toEqual([3]);
    expect(ports({ q: '10.0.0.7 → shop/web:8080' })).toEqual([8_080]);
    expect(ports({ role: 'server' })).toEqual([8_080]);
    expect(ports({ protocol: 'dns' })).toEqual([53]);
    expect(ports({ only: 'trouble' })).toEqual([3, 53, 4]);
  });

  it('have rates, shares and quantiles', () => {
    const [view] = arranged(book.edges, { ...ALL, q: ':3' });
    expect(view?.values).toMatchObject({ rate: 10, failed: 0.3, declined: 0 });
    expect(view?.values.p50).toBeCloseTo(0.00064, 6);
    expect(view?.verdict).toMatchObject({ kind: 'errors', grade: 'alert', text: '30 % errors' });
  });
});

it('numbers are those since the previous reading', () => {
  read(10, [CALM]);
  read(20, [{ ...CALM, requests: 1_500 }]);
  expect(book.edges[0]?.values.rate).toBe(75);
});

it('the shown rows and the sum of the others are all requests', () => {
  read(10, EDGES, [answered(70, 1, { peer: '*', port: null })]);
  const [first] = arranged(book.edges, ALL);
  const others = othersOf(book, first === undefined ? [] : [first], ALL);
  expect(others).toMatchObject({ edges: 5, values: { rate: 642 } });
  expect(othersOf(book, [], { ...ALL, protocol: 'dns' })).toMatchObject({ edges: 1, values: { rate: 20 } });
});

describe('trouble that passes through several services', () => {
  const slow = (workload: string, peerName: string, more: Partial<RequestSummary> = {}) =>
    answered(10, 7, { pod: `${workload}-0`, workload, peerName, peer: `10.0.1.${peerName.length}`, ...more });
  const names = () => arranged(book.edges, ALL).map(({ edge: { workload } }) => workload);

  it('stands first where it may begin, and other edges name that edge', () => {
    read(10, [
      slow('gateway', 'web', { requests: 90 }),
      slow('web', 'cart'),
      slow('cart', 'orders', { durations: edge().durations.map((_, index) => (index === 1 ? 10 : 0)) }),
    ]);
    expect(names()).toEqual(['web', 'gateway', 'cart']);
    const origins = [...originsOf(book.edges)].map(([id, { to }]) => [id.includes('gateway'), to]);
    expect(origins).toEqual([[true, 'shop/cart:80']]);
  });

  it('does not begin anywhere in a cycle, and not at trouble of another kind', () => {
    read(10, [
      slow('a', 'b'),
      slow('b', 'a'),
      slow('web', 'cart'),
      slow('cart', 'x', { failed: 9, durations: edge().durations.map((_, index) => (index === 1 ? 10 : 0)) }),
    ]);
    expect([...originsOf(book.edges).values()].map(({ from }) => from)).toEqual(['shop/b-0', 'shop/a-0']);
  });
});
