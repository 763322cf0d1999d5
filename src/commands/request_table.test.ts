import { expect, it } from 'vitest';
import type { FlowsSummary, RequestSummary } from '#api/flows.ts';
import { requestTable } from './request_table.ts';

const ALL = { columns: Number.POSITIVE_INFINITY, lines: Number.POSITIVE_INFINITY };

function edge(more: Partial<RequestSummary> = {}): RequestSummary {
  return {
    namespace: 'shop',
    pod: 'web',
    workload: null,
    netns: '2',
    role: 'client',
    peer: '10.0.0.7',
    peerKind: 'service',
    peerNamespace: 'shop',
    peerName: 'cart',
    dnsNames: [],
    port: 80,
    protocol: 'http1',
    requests: 1_000,
    failed: 10,
    declined: 50,
    unread: 0,
    seconds: 2,
    durations: [0, 900, 100, 0, 0, 0, 0, 0, 0],
    ...more,
  };
}

function answer(second: number, edges: RequestSummary[], rest: RequestSummary[] = []): FlowsSummary {
  const collectedAt = `2026-01-01T00:00:0${second}.000Z`;
  return {
    node: 'n1',
    collectedAt,
    edges: [],
    omitted: 0,
    rest: [],
    requests: { edges, rest, omitted: 0, connections: [] },
  };
}

const DNS = edge({ peerName: 'dns', port: 53, protocol: 'dns_udp', failed: 0, declined: 800, requests: 2_000 });
const REST = edge({
  peer: '*',
  peerKind: null,
  peerNamespace: '',
  peerName: '*',
  port: null,
  failed: 0,
  declined: 0,
  requests: 3,
});

it('shows totals, most failed first, and what has no row of its own', () => {
  expect(
    requestTable(answer(0, [DNS, edge()], [REST]), undefined, ALL),
  ).toBe(`n1: requests, totals at 2026-01-01T00:00:00Z
POD       ROLE    PEER       PORT  PROTOCOL  REQUESTS  ERRORS  DECLINED    P50    P99
shop/web  client  shop/cart    80  http1           1k      1%        5%  683us  3.8ms
shop/web  client  shop/dns     53  dns_udp         2k      0%       40%  683us  3.8ms
shop/web  client  *             *  http1            3      0%        0%  683us  3.8ms
`);
});

it('shows rates between two answers, and drops columns that do not fit', () => {
  const later = edge({ requests: 1_200, failed: 110, seconds: 12, durations: [0, 900, 100, 100, 100, 0, 0, 0, 0] });
  const table = requestTable(answer(4, [later]), answer(0, [edge()]), { columns: 64, lines: 10 });
  expect(table).toBe(`n1: requests, 4.0 s up to 2026-01-01T00:00:04Z
POD       ROLE    PEER       PORT  REQUESTS/S  ERRORS   P99
shop/web  client  shop/cart    80          50     50%  65ms
`);
});

it('says what counts requests if there are none', () => {
  expect(requestTable(answer(0, []), undefined, ALL)).toContain('the probes http and dns count them');
});
