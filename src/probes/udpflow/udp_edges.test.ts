import { beforeEach, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { PeerTable } from '#kernel/peer_table.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { UdpEdges } from './udp_edges.ts';
import type { ShownRow } from './udp_rows.ts';

const IP = '10.0.0.7';
const [CART, WEB] = ['cart', 'web'].map((name) => ({ kind: 'workload', namespace: 'shop', name })) as [
  PeerIdentity,
  PeerIdentity,
];

let owner: PeerIdentity;
let table: PeerTable;
let edges: UdpEdges;

beforeEach(() => {
  owner = CART;
  table = new PeerTable({
    ask: ({ add }) =>
      queueMicrotask(() => table.tell({ peers: add.map((ip) => ({ ip, identity: owner, isMixed: false })) })),
    isOwn: () => false,
  });
  edges = new UdpEdges(table.follow({ pods: false, subjectOf: ({ place }) => place.netns }), () => false);
});

function rowOf(id: number, sent: number, more: Partial<ShownRow['labels']> = {}): ShownRow {
  return {
    id,
    subject: asNetnsId(2),
    labels: { role: 'client', peer: IP, port: '53', ...more },
    counts: { sentBytes: 100 * sent, receivedBytes: 0, sentDatagrams: sent, receivedDatagrams: 0 },
    isLast: false,
  };
}

async function take(...rows: ShownRow[]): Promise<Record<string, number>> {
  edges.begin();
  await edges.take(rows);
  return shown();
}

/** Returns the number of sent datagrams by the name of the peer. */
function shown(): Record<string, number> {
  const sums: Record<string, number> = {};
  const { last } = edges;
  for (const { identity, sentDatagrams } of [...(last?.edges ?? []), ...(last?.departed ?? [])]) {
    const name = identity === UNKNOWN_PEER ? 'unknown' : (identity?.name ?? '');
    sums[name] = (sums[name] ?? 0) + Number(sentDatagrams);
  }
  return sums;
}

function change(identity: PeerIdentity): void {
  owner = identity;
  table.tell({ peers: [{ ip: IP, identity, isMixed: true }] });
}

it('has none before the first collection', () => {
  expect(edges.last).toBeUndefined();
});

it('names peers, and counts datagrams without a row apart', async () => {
  const rest = rowOf(2, 3, { role: '*', peer: '*', port: '*' });
  expect(await take(rowOf(1, 5), rest)).toEqual({ cart: 5 });
  expect(edges.datagrams?.restBytes).toBe(300);
  expect([...(edges.last?.edges ?? [])]).toMatchObject([{ role: 'client', peer: IP, port: 53, sentBytes: 500 }]);
});

it('leaves counts with the owner of their time; what may belong to two owners belongs to nobody', async () => {
  await take(rowOf(1, 5));
  change(WEB);
  expect(await take(rowOf(1, 7))).toEqual({ cart: 5, unknown: 2 });
  expect(await take(rowOf(1, 8))).toEqual({ cart: 5, unknown: 3 });
  expect(await take(rowOf(1, 12))).toEqual({ cart: 5, unknown: 3, web: 4 });
  expect(await take(rowOf(1, 12))).toEqual({ cart: 5, unknown: 3, web: 4 });
});

it('adds up rows that have ended, each once', async () => {
  await take(rowOf(1, 5), rowOf(2, 1));
  expect(await take({ ...rowOf(1, 6), isLast: true }, rowOf(2, 1))).toEqual({ cart: 7 });
  expect(await take(rowOf(2, 1))).toEqual({ cart: 7 });
  expect(await take(rowOf(2, 2), rowOf(3, 4))).toEqual({ cart: 12 });
});

it('does not change an earlier answer when a peer gets another owner', async () => {
  await take(rowOf(1, 5));
  const { edges: before } = edges.last ?? { edges: [] };
  change(WEB);
  await take(rowOf(1, 7));
  expect([...before]).toMatchObject([{ identity: CART, sentDatagrams: 5 }]);
});
