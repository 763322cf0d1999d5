import { expect, it } from 'vitest';
import { MAP_REPORT } from '#api/map.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { RequestEdges, RequestTotals } from '#probe/flow_edges.ts';
import { makeFlowRow, makeRequestRow } from '../../test/support/flow_rows.ts';
import { placesOf, workload } from '../../test/support/map_places.ts';
import { reportMap } from './flow_map.ts';
import type { FlowSelection } from './flows.ts';
import { reportRequests } from './request_numbers.ts';

const [WEB, CART] = [2, 3].map(asNetnsId) as [NetnsId, NetnsId];
const NAMES: Readonly<Record<string, string>> = { 2: 'web', 3: 'cart' };
const ALL: FlowSelection = { failed: false, limit: 10 };

const find = (netns: NetnsId) => {
  const pod = NAMES[String(netns)];
  return pod === undefined ? undefined : { namespace: 'shop', pod, workload: pod };
};

function collected(edges: RequestTotals[], more: Partial<RequestEdges> = {}): RequestEdges {
  return { collectedAtMs: 0, edges, departed: [], rests: [], connections: [], ...more };
}

const report = (edges: readonly RequestEdges[], selection: Partial<FlowSelection> = {}) =>
  reportRequests(edges, { ...ALL, ...selection }, find, freeCycle());

const calm = (more: Partial<RequestTotals>) =>
  makeRequestRow({ requests: { ok: 4, declined: 0, failed: 0, unread: 0 }, ...more });

it('adds up the rows of an edge by protocol, most failed first, and keeps what has no row apart', async () => {
  const { edges, omitted, rest, departed } = await report([
    collected([calm({ port: 1 }), makeRequestRow(), makeRequestRow(), makeRequestRow({ protocol: 'http2' })], {
      rests: [makeRequestRow({ peer: null, port: 0 })],
    }),
    collected([calm({ netns: CART, protocol: 'dns_udp', port: 53 })], {
      departed: [makeRequestRow({ port: 9 }), makeRequestRow({ port: 8 })],
    }),
  ]);
  expect(edges.map(({ pod, port, protocol, requests, failed }) => [pod, port, protocol, requests, failed])).toEqual([
    ['web', 5_432, 'http1', 32, 4],
    ['web', 5_432, 'http2', 16, 2],
    ['web', 1, 'http1', 4, 0],
    ['cart', 53, 'dns_udp', 4, 0],
  ]);
  expect(edges[0]).toMatchObject({
    declined: 6,
    unread: 2,
    seconds: 0.06,
    durations: [2, 8, 16, 4, 0, 0, 0, 0, 0],
    peer: '10.0.0.7',
    peerKind: 'unknown',
  });
  expect(omitted).toBe(0);
  expect(rest).toMatchObject([{ pod: 'web', peer: '*', port: null, requests: 16 }]);
  expect(departed).toMatchObject([{ pod: 'web', peer: '*', port: null, requests: 32 }]);
});

it('selects edges as it selects those of connections', async () => {
  const all = [
    collected([calm({ port: 1 }), makeRequestRow({ port: 2 }), makeRequestRow({ netns: CART, role: 'server' })]),
  ];
  const ports = async (selection: Partial<FlowSelection>) =>
    (await report(all, selection)).edges.map(({ port }) => port);
  expect(await ports({ failed: true })).toEqual([2, 5_432]);
  expect(await ports({ pod: 'cart' })).toEqual([5_432]);
  expect(await ports({ role: 'client', port: 1 })).toEqual([1]);
  expect(await report(all, { limit: 2 })).toMatchObject({ edges: [{ port: 2 }, { port: 5_432 }], omitted: 1 });
});

it('says whose connections are read', async () => {
  const numbers = { read: 9, encrypted: 3, other: 1, late: 2, refused: 0 };
  const all = [
    collected([], {
      connections: [
        { netns: WEB, ...numbers },
        { netns: asNetnsId(9), ...numbers },
      ],
    }),
  ];
  expect((await report(all)).connections).toEqual([{ namespace: 'shop', pod: 'web', ...numbers }]);
  expect((await report(all, { pod: 'cart' })).connections).toEqual([]);
});

it('is on the map once for each request, at the edge of its transport, or outside of all edges', async () => {
  const [web, cart] = ['10.1.0.2', '10.1.0.3'];
  const places = placesOf(
    new Map([
      [WEB, workload('web')],
      [CART, workload('cart')],
    ]),
  );
  const asks = { netns: WEB, peer: cart, identity: workload('cart'), port: 80 };
  const answers = { netns: CART, peer: web, identity: workload('web'), port: 80, role: 'server' } as const;
  const edges = [makeFlowRow(asks), makeFlowRow(answers)];
  const requests = collected(
    [makeRequestRow(asks), makeRequestRow(answers), makeRequestRow({ ...asks, port: 53, protocol: 'dns_udp' })],
    { rests: [makeRequestRow({ netns: WEB, peer: null, port: 0 })] },
  );
  const map = MAP_REPORT.parse(
    await reportMap({ collectedAtMs: 0, edges, departed: [] }, undefined, [requests], places, freeCycle()),
  );
  expect(map.edges.map(({ port, protocol, requests: numbers }) => [port, protocol, numbers?.requests])).toEqual([
    [80, 'tcp', 16],
    [53, 'udp', 16],
  ]);
  expect(map.restRequests).toBe(16);
});
