import { expect, it } from 'vitest';
import { MAP_REPORT } from '#api/map.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { DatagramTotals, EdgeTotals } from '#probe/flow_edges.ts';
import { SELF_PEER } from '#probe/peers.ts';
import { makeDatagramRow, makeFlowRow } from '../../test/support/flow_rows.ts';
import { placesOf, workload } from '../../test/support/map_places.ts';
import { reportMap } from './flow_map.ts';

const [WEB, DNS] = [2, 3].map(asNetnsId) as [NetnsId, NetnsId];
const PLACES = placesOf(
  new Map([
    [WEB, workload('web')],
    [DNS, workload('dns')],
  ]),
);

async function mapOf(
  rows: readonly DatagramTotals[],
  connections: readonly EdgeTotals[] = [],
  departed: readonly DatagramTotals[] = [],
  restBytes = 0,
) {
  const datagrams = { collectedAtMs: 0, edges: rows, departed, restBytes };
  const tcp = { collectedAtMs: 0, edges: connections, departed: [] };
  return MAP_REPORT.parse(await reportMap(tcp, datagrams, [], PLACES, freeCycle()));
}

const asks = (more: Partial<DatagramTotals> = {}) =>
  makeDatagramRow({ netns: WEB, peer: '10.1.0.3', identity: workload('dns'), ...more });
const answers = (more: Partial<DatagramTotals> = {}) =>
  makeDatagramRow({ netns: DNS, role: 'server', peer: '10.1.0.2', identity: workload('web'), ...more });

it('shows datagrams of which both ends are on this node once, with the counts of the client', async () => {
  const report = await mapOf([asks({ receivedDatagrams: 7 }), answers({ sentDatagrams: 9, receivedDatagrams: 10 })]);
  expect(report.udp).toBe('shown');
  expect(report.edges).toEqual([
    {
      id: 'workload/shop/web workload/shop/dns 53 udp',
      source: 'workload/shop/web',
      target: 'workload/shop/dns',
      port: 53,
      protocol: 'udp',
      connections: 0,
      open: 0,
      failed: {},
      sentBytes: 300,
      receivedBytes: 900,
      sentDatagrams: 10,
      receivedDatagrams: 7,
      sentSegments: 0,
      retransmittedSegments: 0,
      roundTripSeconds: null,
      roundTripCount: 0,
      requests: null,
      seenBy: 'both',
      crossZone: null,
    },
  ]);
});

it('turns the counts of a server around if its client is on another node', async () => {
  const { edges } = await mapOf([answers({ peer: '10.2.0.9', sentDatagrams: 4, receivedDatagrams: 5 })]);
  expect(edges).toMatchObject([
    { seenBy: 'server', sentBytes: 900, receivedBytes: 300, sentDatagrams: 5, receivedDatagrams: 4 },
  ]);
});

it('keeps TCP and UDP of the same port apart', async () => {
  const connection = makeFlowRow({ netns: WEB, peer: '10.1.0.3', port: 53, identity: workload('dns') });
  // The server accepted a TCP connection from its client on another port. It is the same connection as the client's, so
  // it adds no edge. The edge of UDP must be added.
  const served = makeFlowRow({ ...connection, netns: DNS, role: 'server', port: 54, identity: workload('web') });
  const { edges } = await mapOf([answers()], [connection, { ...served, peer: '10.1.0.2' }]);
  expect(edges.map(({ id }) => id).sort()).toEqual([
    'workload/shop/web workload/shop/dns 53',
    'workload/shop/web workload/shop/dns 53 udp',
  ]);
});

it('shows one edge if the ports of both ends pass for those of clients', async () => {
  const media = (more: Partial<DatagramTotals>) => ({ port: 40_000, ...more });
  const { edges } = await mapOf([asks(media({})), answers(media({ role: 'client', port: 40_001, sentDatagrams: 8 }))]);
  expect(edges).toMatchObject([{ port: null, sentDatagrams: 8, receivedDatagrams: 9, seenBy: 'both' }]);
  expect(edges).toHaveLength(1);
});

it('adds rows that have ended, and counts the bytes that belong to no edge', async () => {
  const report = await mapOf(
    [asks(), asks({ identity: SELF_PEER }), asks({ netns: asNetnsId(9), sentBytes: 1, receivedBytes: 2 })],
    [],
    [asks({ peer: '10.1.0.4' })],
    40,
  );
  expect(report.edges).toMatchObject([{ sentDatagrams: 20, sentBytes: 600 }]);
  expect(report.restBytes).toBe(43);
});
