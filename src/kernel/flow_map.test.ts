import { describe, expect, it } from 'vitest';
import { MAP_REPORT } from '#api/map.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { EdgeTotals } from '#probe/flow_edges.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { SELF_PEER, UNKNOWN_PEER } from '#probe/peers.ts';
import { makeFlowRow } from '../../test/support/flow_rows.ts';
import { placesOf, workload } from '../../test/support/map_places.ts';
import { DNS_NAMES_MAX, MAP_EDGES_MAX, MAP_NODES_MAX, reportMap } from './flow_map.ts';

const [WEB, CART] = [2, 3].map(asNetnsId) as [NetnsId, NetnsId];
const CART_SERVICE: PeerIdentity = { kind: 'service', namespace: 'shop', name: 'cart' };
const PLACES = placesOf(
  new Map([
    [WEB, workload('web')],
    [CART, workload('cart')],
  ]),
);

async function mapOf(edges: readonly EdgeTotals[], departed: readonly EdgeTotals[] = [], places = PLACES) {
  const report = await reportMap({ collectedAtMs: 0, edges, departed }, undefined, [], places, freeCycle());
  return MAP_REPORT.parse(report);
}

const names = ({ edges }: Awaited<ReturnType<typeof mapOf>>) =>
  edges.map(({ source, target, port }) => `${source} ${target} ${port}`).sort();

it('adds up the addresses of one peer, and lists both ends', async () => {
  const rows = ['10.2.0.1', '10.2.0.2', '10.2.0.3'].map((peer) =>
    makeFlowRow({ netns: WEB, peer, port: 80, identity: CART_SERVICE, failed: { refused: 1 } }),
  );
  const report = await mapOf(rows.slice(0, 2), rows.slice(2));
  expect(report).toEqual({
    node: 'n1',
    collectedAt: '1970-01-01T00:00:00.000Z',
    nodes: [
      {
        id: 'workload/shop/web',
        kind: 'workload',
        namespace: 'shop',
        name: 'web',
        zone: 'a',
        services: [],
        local: true,
      },
      {
        id: 'service/shop/cart',
        kind: 'service',
        namespace: 'shop',
        name: 'cart',
        zone: null,
        services: [],
        local: false,
      },
    ],
    edges: [
      {
        id: 'workload/shop/web service/shop/cart 80',
        source: 'workload/shop/web',
        target: 'service/shop/cart',
        port: 80,
        protocol: 'tcp',
        connections: 30,
        open: 3,
        failed: { refused: 3 },
        sentBytes: 3_000,
        receivedBytes: 6_000,
        sentDatagrams: 0,
        receivedDatagrams: 0,
        sentSegments: 300,
        retransmittedSegments: 0,
        roundTripSeconds: 0.0005,
        roundTripCount: 12,
        requests: null,
        seenBy: 'client',
        crossZone: null,
      },
    ],
    omittedEdges: 0,
    unknownShare: { bytes: 0, connections: 0, edges: 0 },
    dnsNames: 'off',
    udp: 'off',
    restRequests: 0,
    restBytes: 0,
  });
});

it('shows connections once of which both ends are on this node, with the bytes of the client', async () => {
  const client = makeFlowRow({ netns: WEB, peer: '10.1.0.3', port: 80, identity: workload('cart'), sentBytes: 7 });
  const server = makeFlowRow({
    netns: CART,
    role: 'server',
    peer: '10.1.0.2',
    port: 80,
    identity: workload('web'),
    retransmittedSegments: 5,
    roundTrips: { count: 12, sumSeconds: 0.03 },
  });
  const { edges } = await mapOf([client, server]);
  expect(edges).toMatchObject([
    { source: 'workload/shop/web', target: 'workload/shop/cart', seenBy: 'both', connections: 10, sentBytes: 7 },
  ]);
  expect(edges[0]).toMatchObject({
    retransmittedSegments: 5,
    sentSegments: 200,
    roundTripSeconds: 0.002,
    roundTripCount: 16,
  });
});

it('adds the clients of a workload on other nodes to those on this node', async () => {
  const server = (peer: string, port: number) =>
    makeFlowRow({ netns: CART, role: 'server', peer, port, identity: workload('web'), sentBytes: 5, receivedBytes: 3 });
  const direct = makeFlowRow({ netns: WEB, peer: '10.1.0.3', port: 80, identity: workload('cart'), sentBytes: 7 });
  const { edges } = await mapOf([direct, server('10.1.0.2', 80), { ...server('10.2.0.2', 80), failed: { other: 2 } }]);
  expect(edges).toMatchObject([
    { seenBy: 'both', connections: 20, sentBytes: 10, receivedBytes: 2_005, sentSegments: 300, failed: { other: 2 } },
  ]);
  const byService = makeFlowRow({ netns: WEB, peer: '10.9.0.1', port: 80, identity: CART_SERVICE });
  const apart = await mapOf([byService, server('10.1.0.2', 8_080), server('10.2.0.2', 8_080)]);
  expect(apart.edges.find(({ port }) => port === 8_080)).toMatchObject({
    seenBy: 'server',
    connections: 10,
    sentBytes: 3,
    receivedBytes: 5,
  });
});

it('leaves out what a server sees of a client on this node that called a Service', async () => {
  const client = makeFlowRow({ netns: WEB, peer: '10.9.0.1', port: 80, identity: CART_SERVICE });
  const server = makeFlowRow({ netns: CART, role: 'server', peer: '10.1.0.2', port: 8_080, identity: workload('web') });
  expect(names(await mapOf([client, server]))).toEqual(['workload/shop/web service/shop/cart 80']);
  expect(names(await mapOf([server]))).toEqual(['workload/shop/web workload/shop/cart 8080']);
});

it('shows connections once that a proxy in the server’s Pod accepts at another port', async () => {
  const client = makeFlowRow({ netns: WEB, peer: '10.1.0.3', port: 8_080, identity: workload('cart') });
  const proxy = (peer: string, name: string) =>
    makeFlowRow({ netns: CART, role: 'server', peer, port: 15_006, identity: workload(name) });
  const { edges } = await mapOf([client, proxy('10.1.0.2', 'web'), proxy('10.1.0.9', 'batch')]);
  expect(edges).toMatchObject([
    { source: 'workload/shop/web', port: 8_080, connections: 10, seenBy: 'client' },
    { source: 'workload/shop/batch', port: 15_006, connections: 10, seenBy: 'server' },
  ]);
});

describe('a Service of which the workload is known', () => {
  const places = { ...PLACES, services: [{ namespace: 'shop', service: 'basket', workload: 'cart' }] };
  const basket: PeerIdentity = { kind: 'service', namespace: 'shop', name: 'basket' };
  const calls = (more: Partial<EdgeTotals> = {}) =>
    makeFlowRow({ netns: WEB, peer: '10.9.0.1', port: 80, identity: basket, sentBytes: 7, ...more });
  const serves = (more: Partial<EdgeTotals> = {}) =>
    makeFlowRow({ netns: CART, role: 'server', peer: '10.1.0.2', port: 8_080, identity: workload('web'), ...more });

  it('is drawn as the workload, so that a chain of calls continues', async () => {
    const onward = makeFlowRow({ netns: CART, peer: '10.2.0.9', port: 6_379, identity: workload('redis') });
    const report = await mapOf([calls(), serves(), onward], [], places);
    expect(names(report)).toEqual([
      'workload/shop/cart workload/shop/redis 6379',
      'workload/shop/web workload/shop/cart 80',
    ]);
    expect(Object.fromEntries(report.nodes.map(({ name, services }) => [name, services]))).toEqual({
      web: [],
      cart: ['basket'],
      redis: [],
    });
  });

  it('has the numbers of its clients once, also if its port is that of the Pods', async () => {
    for (const port of [80, 8_080]) {
      const { edges } = await mapOf([calls({ port }), serves()], [], places);
      expect(edges).toMatchObject([{ port, connections: 10, sentBytes: 7, seenBy: port === 80 ? 'client' : 'both' }]);
    }
  });

  it('keeps what only the server sees: clients on other nodes, and of other workloads', async () => {
    const far = serves({ peer: '10.2.0.1', identity: workload('mobile') });
    const near = serves({ peer: '10.1.0.9', identity: workload('batch') });
    const other = makeFlowRow({ netns: WEB, role: 'server', peer: '10.1.0.3', port: 9, identity: workload('cart') });
    expect(names(await mapOf([calls(), serves(), far, near, other], [], places))).toEqual([
      'workload/shop/batch workload/shop/cart 8080',
      'workload/shop/cart workload/shop/web 9',
      'workload/shop/mobile workload/shop/cart 8080',
      'workload/shop/web workload/shop/cart 80',
    ]);
  });

  it('is on this node, and has the connections of its Pods on other nodes', async () => {
    const far = calls({ peer: '10.2.0.5', identity: { ...basket, zone: 'b' } });
    const { nodes, edges } = await mapOf([calls(), far], [], places);
    expect(edges).toMatchObject([{ target: 'workload/shop/cart', connections: 20, crossZone: true }]);
    expect(nodes[1]).toMatchObject({ id: 'workload/shop/cart', zone: 'b', local: true, services: ['basket'] });
  });

  it('does not change one of the same name in another namespace', async () => {
    const { edges } = await mapOf([calls({ identity: { ...basket, namespace: 'other' } })], [], places);
    expect(edges).toMatchObject([{ target: 'service/other/basket' }]);
  });
});

it('a client on another node is the source, as its end sends and receives', async () => {
  const server = makeFlowRow({
    netns: CART,
    role: 'server',
    peer: '10.2.0.1',
    port: 8_080,
    identity: workload('mobile', 'b'),
    sentBytes: 5,
    receivedBytes: 6,
  });
  const { edges, nodes } = await mapOf([server]);
  expect(edges).toMatchObject([
    { source: 'workload/shop/mobile', seenBy: 'server', sentBytes: 6, receivedBytes: 5, crossZone: true },
  ]);
  expect(nodes).toMatchObject([
    { id: 'workload/shop/mobile', zone: 'b', local: false },
    { id: 'workload/shop/cart', zone: 'a', local: true },
  ]);
});

it('compares the zones of both ends', async () => {
  const to = (zone?: string) => makeFlowRow({ netns: WEB, identity: workload('db', zone) });
  const crosses = async (rows: EdgeTotals[], places = PLACES) => (await mapOf(rows, [], places)).edges[0]?.crossZone;
  expect(await crosses([to('a')])).toBe(false);
  expect(await crosses([to('a'), to('b')])).toBe(true);
  expect(await crosses([to()])).toBe(null);
  expect(await crosses([to('a')], { ...PLACES, zone: undefined })).toBe(null);
  expect((await mapOf([to('a'), to('b')])).nodes.find(({ name }) => name === 'db')?.zone).toBe(null);
});

it('has no round-trip time where none was measured', async () => {
  const row = makeFlowRow({ netns: WEB, identity: CART_SERVICE, roundTrips: { count: 0, sumSeconds: 0 } });
  expect((await mapOf([row])).edges).toMatchObject([{ roundTripSeconds: null, roundTripCount: 0 }]);
});

it('counts what is unknown, and what has no edge', async () => {
  const rows = [
    makeFlowRow({ netns: WEB, identity: CART_SERVICE, sentBytes: 600, receivedBytes: 0, connections: 3 }),
    makeFlowRow({ netns: WEB, identity: UNKNOWN_PEER, sentBytes: 100, receivedBytes: 100, connections: 1 }),
    makeFlowRow({ netns: WEB, identity: SELF_PEER }),
    makeFlowRow({ netns: WEB, peer: null, port: 0, sentBytes: 4, receivedBytes: 5 }),
  ];
  const report = await mapOf(rows);
  expect(report.unknownShare).toEqual({ bytes: 0.25, connections: 0.25, edges: 0.5 });
  expect(report.restBytes).toBe(9);
  expect(report.edges).toHaveLength(2);
});

it('has one edge for ports that the kernel assigned to clients', async () => {
  const rows = [40_000, 40_001, 80].map((port) => makeFlowRow({ netns: WEB, port, identity: CART_SERVICE }));
  const { edges } = await mapOf(rows);
  expect(Object.fromEntries(edges.map(({ port, connections }) => [String(port), connections]))).toEqual({
    80: 10,
    null: 20,
  });
});

it('limits nodes and edges, keeps the worst, and counts the bytes of all others', async () => {
  const peers = Array.from({ length: MAP_NODES_MAX + 100 }, (_, nth) =>
    makeFlowRow({ netns: WEB, identity: workload(`w${nth}`), sentBytes: nth, receivedBytes: 0 }),
  );
  const byNodes = await mapOf([
    ...peers,
    makeFlowRow({ netns: WEB, identity: workload('bad'), failed: { timeout: 1 } }),
  ]);
  expect([byNodes.nodes.length, byNodes.edges.length]).toEqual([MAP_NODES_MAX, MAP_NODES_MAX - 1]);
  expect(byNodes.edges[0]?.target).toBe('workload/shop/bad');
  expect(byNodes.omittedEdges).toBe(102);
  expect(byNodes.restBytes).toBe((101 * 102) / 2);
  const ports = Array.from({ length: MAP_EDGES_MAX + 5 }, (_, nth) =>
    makeFlowRow({ netns: WEB, identity: CART_SERVICE, port: nth + 1 }),
  );
  const byEdges = await mapOf(ports);
  expect([byEdges.nodes.length, byEdges.edges.length, byEdges.omittedEdges]).toEqual([2, MAP_EDGES_MAX, 5]);
});

it('gives servers without a name the names by which their clients resolved them, and each client a limited number', async () => {
  const outside: PeerIdentity = { kind: 'external', namespace: '', name: '' };
  const row = (netns: NetnsId, identity: PeerIdentity, ...dnsNames: string[]) =>
    makeFlowRow({ netns, identity, port: 443, ...(dnsNames.length === 0 ? {} : { dnsNames }) });
  const report = await mapOf([
    row(WEB, outside, 'pay.example'),
    row(CART, outside, 'pay.example'),
    row(CART, outside, 'cdn.example', 'img.example'),
    row(CART, UNKNOWN_PEER, 'db.corp.example'),
    row(CART, outside),
  ]);
  expect(names(report)).toEqual([
    'workload/shop/cart external// 443',
    'workload/shop/cart external//cdn.example (+1) 443',
    'workload/shop/cart external//pay.example 443',
    'workload/shop/cart unknown//db.corp.example 443',
    'workload/shop/web external//pay.example 443',
  ]);
  const crawler = await mapOf([
    ...Array.from({ length: 100 }, (_, nth) => row(WEB, outside, `n${nth}.example`)),
    row(CART, outside, 'n99.example'),
  ]);
  expect(crawler.edges).toHaveLength(DNS_NAMES_MAX + 2);
  expect(crawler.edges.find(({ target }) => target === 'external//')?.connections).toBe(10 * (100 - DNS_NAMES_MAX));
  expect(names(crawler)).toContain('workload/shop/cart external//n99.example 443');
});
