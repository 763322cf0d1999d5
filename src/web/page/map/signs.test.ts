import { describe, expect, it } from 'vitest';
import type { EventRecord, Peer } from '#api/events.ts';
import { mapEdge, mapNode } from '../../../../test/support/map_reports.ts';
import type { SeenEvent } from '../event_log.ts';
import { Directory, type FlowName } from './directory.ts';
import { type Activity, parseEnd, type SignsOfEdges, signsOf, type Unplaced } from './signs.ts';

const NOW = '2026-11-28T14:03:00.000000000Z';
const [CHECKOUT, ORDERS, POSTGRES] = ['10.0.1.5', '10.0.2.7', '10.0.3.9'];

const nodes = {
  checkout: mapNode('workload', 'shop', 'checkout'),
  orders: mapNode('workload', 'shop', 'orders'),
  ordersService: mapNode('service', 'shop', 'orders'),
  postgres: mapNode('workload', 'data', 'postgres'),
};
const edge = mapEdge(nodes.checkout, nodes.orders, 8080);

const flow = (peer: string, peerNamespace: string, peerName: string): FlowName => ({
  namespace: 'shop',
  pod: 'checkout-6b9d4-x7k2p',
  workload: 'checkout',
  peer,
  peerKind: 'workload',
  peerNamespace,
  peerName,
});

const entity = (namespace: string, pod: string, ...ips: string[]) => ({
  kind: 'pod' as const,
  namespace,
  pod,
  netns: '1',
  sharesNode: false,
  uid: '',
  labels: {},
  ips,
});

const directory = new Directory(
  Object.values(nodes),
  [entity('shop', 'checkout-6b9d4-x7k2p', CHECKOUT, '127.0.0.1', 'fe80::1')],
  [flow(ORDERS, 'shop', 'orders'), flow(POSTGRES, 'data', 'postgres')],
);

let counter = 0;
function seen(fields: Partial<EventRecord>): SeenEvent {
  const event = {
    time: NOW,
    probe: 'packetloss',
    type: 'packet_drop',
    severity: 'warning',
    node: 'node-a',
    netns: '1',
    namespace: 'shop',
    pod: 'checkout-6b9d4-x7k2p',
    protocol: 'tcp',
    reason: 'NETFILTER_DROP',
    message: 'The kernel dropped a packet.',
    ...fields,
  } as EventRecord;
  return { id: `a-${++counter}`, event };
}

function signs(...events: SeenEvent[]): SignsOfEdges {
  return signsOf(events, { edges: [edge], udp: 'off' }, directory, Date.parse(NOW));
}

/** Packets that belong to no edge. */
const left = (more: Partial<Unplaced> = {}): Unplaced => ({ unowned: 0, otherProtocol: 0, withoutEdge: 0, ...more });

const syn = { src: `${CHECKOUT}:40000`, dst: `${ORDERS}:8080` };

describe('denials and drops', () => {
  it('belong to the edge between the owners of both addresses, in either direction', () => {
    const answer = { src: syn.dst, dst: syn.src, namespace: '', pod: '' };
    const { byEdge, denied, unplaced } = signs(
      seen({ ...syn, count: 3 }),
      seen(answer),
      seen({ ...syn, reason: 'TCP_CSUM' }),
    );
    expect(byEdge.get(edge.id)).toMatchObject({ denied: 4, dropped: 1, queueFull: 0 });
    expect([...(byEdge.get(edge.id)?.reasons ?? [])]).toEqual(['NETFILTER_DROP', 'TCP_CSUM']);
    expect([denied, unplaced]).toEqual([[], left()]);
  });

  it('count for a minute, and are listed for five', () => {
    const { byEdge } = signs(
      seen({ ...syn, time: '2026-11-28T14:01:30.000000000Z' }),
      seen({ ...syn, time: '2026-11-28T13:57:00.000000000Z' }),
    );
    expect(byEdge.get(edge.id)).toMatchObject({ denied: 0, events: [expect.anything()] });
  });

  it('are an edge of their own if no connection was ever seen', () => {
    const { byEdge, denied } = signs(
      seen({ src: `${CHECKOUT}:40000`, dst: `${POSTGRES}:5432` }),
      seen({ src: `${POSTGRES}:5432`, dst: `${CHECKOUT}:40000` }),
    );
    expect(denied).toMatchObject([{ source: nodes.checkout.id, target: nodes.postgres.id, port: 5432 }]);
    expect(byEdge.get(denied[0]?.id ?? '')?.denied).toBe(2);
    const answer = signs(seen({ src: `${POSTGRES}:5432`, dst: `${CHECKOUT}:40000` }));
    expect(answer.denied).toMatchObject([{ source: nodes.checkout.id, port: 5432 }]);
  });

  it('are no edge if a rule did not refuse the packet', () => {
    const { byEdge, denied, unplaced } = signs(
      seen({ src: `${CHECKOUT}:40000`, dst: `${POSTGRES}:5432`, reason: 'TCP_CSUM' }),
    );
    expect([byEdge.size, denied, unplaced]).toEqual([0, [], left({ withoutEdge: 1 })]);
  });

  it('belong to no edge if nobody owns the network namespace, whose addresses may be those of another cluster', () => {
    const stranger = { ...syn, namespace: null, pod: null };
    const full = seen({ type: 'accept_queue_full', namespace: null, pod: null, port: 8080 });
    const { byEdge, denied, unplaced } = signs(seen({ ...stranger, count: 2 }), full);
    expect([byEdge.size, denied, unplaced]).toEqual([0, [], left({ unowned: 2 })]);
  });

  it('belong to no edge if both ends are unknown, or if they are not TCP', () => {
    const { byEdge, denied, unplaced } = signs(
      seen({ src: '10.9.9.9:40000', dst: '10.9.9.8:80', namespace: '', pod: '', count: 2 }),
      seen({ ...syn, protocol: 'udp' }),
      seen({ src: '127.0.0.1:40000', dst: syn.dst, namespace: '', pod: '' }),
    );
    expect([byEdge.size, denied, unplaced]).toEqual([0, [], left({ withoutEdge: 3, otherProtocol: 1 })]);
  });

  it('begin at an unknown box if only one end is unknown', () => {
    const {
      byEdge,
      denied,
      nodes: added,
    } = signs(seen({ src: '10.9.9.9:40000', dst: syn.dst, namespace: '', pod: '', count: 2 }));
    expect(denied).toMatchObject([{ source: 'unknown//', target: nodes.orders.id, port: 8080 }]);
    expect(byEdge.get(denied[0]?.id ?? '')?.denied).toBe(2);
    expect(added).toMatchObject([{ id: 'unknown//', kind: 'unknown' }]);
  });

  describe('that a node saw while it forwarded them', () => {
    const owner = (name: string, ip: string, more: Partial<Peer> = {}): Peer => ({
      kind: 'pod',
      namespace: 'shop',
      name,
      ip,
      ...more,
    });
    const forwarded = (fields: Partial<EventRecord>) =>
      seen({ src: '10.8.0.1:40000', dst: '10.8.0.2:8080', namespace: '', pod: '', ...fields });
    const ordersPod = owner('orders-0', '10.8.0.2', { workload: 'orders' });

    it('belong to the edge between the owners that the event names', () => {
      const srcOwner = owner('checkout-1', '10.8.0.1', { workload: 'checkout' });
      const { byEdge, denied } = signs(forwarded({ srcOwner, dstOwner: ordersPod }));
      expect([byEdge.get(edge.id)?.denied, denied]).toEqual([1, []]);
    });

    it.each([
      [{ workload: 'cart' }, 'workload/shop/cart'],
      [{ service: 'cart' }, 'service/shop/cart'],
      [{}, 'pod/shop/cart-1'],
      [{ kind: 'local', namespace: '', name: 'client' }, 'local//client'],
      [{ kind: 'external', namespace: '', name: 'datacenter' }, 'external//datacenter'],
    ] as const)('get a box for an owner without connections: %j', (more, id) => {
      const srcOwner = owner('cart-1', '10.8.0.1', more);
      const { denied, nodes: added, unplaced } = signs(forwarded({ srcOwner, dstOwner: ordersPod }));
      expect(denied).toMatchObject([{ source: id, target: nodes.orders.id, port: 8080 }]);
      expect(added.map((node) => node.id)).toEqual([id]);
      expect(unplaced).toEqual(left());
    });

    it('are one edge, whichever end sent the packet', () => {
      const cart = owner('cart-1', '10.8.0.1', { service: 'cart' });
      const { denied } = signs(
        forwarded({ srcOwner: cart, dstOwner: ordersPod }),
        forwarded({ src: '10.8.0.2:8080', dst: '10.8.0.1:40001', srcOwner: ordersPod, dstOwner: cart }),
      );
      expect(denied.map(({ source, target }) => [source, target])).toEqual([['service/shop/cart', nodes.orders.id]]);
    });
  });

  it('use the peer that the event names, and the Pod of the event as the other end', () => {
    const peer = { kind: 'pod', namespace: 'shop', name: 'orders', ip: '10.8.8.8' } as const;
    const { byEdge } = signs(seen({ src: '10.7.7.7:40000', dst: '10.8.8.8:8080', peer }));
    expect(byEdge.get(edge.id)?.denied).toBe(1);
    const unnamed = signs(seen({ src: '10.7.7.7:40000', dst: '10.8.8.8:8080' }));
    expect(unnamed.byEdge.size).toBe(0);
  });

  it('of a backend belong to the edge to its Service', () => {
    const toService = mapEdge(nodes.checkout, nodes.ordersService, 80);
    const { byEdge } = signsOf([seen(syn)], { edges: [toService], udp: 'off' }, directory, Date.parse(NOW));
    expect([...byEdge.keys()]).toEqual([toService.id]);
  });

  it('of a Service belong to the edge to the workload that stands for it', () => {
    const toOrders = mapEdge(nodes.checkout, nodes.orders, 80);
    const peer = { kind: 'service', namespace: 'shop', name: 'front', ip: '10.96.0.9' } as const;
    const event = seen({ src: `${CHECKOUT}:40000`, dst: '10.96.0.9:80', peer });
    const edgesWith = (services: string[]) => {
      const known = new Directory(
        [nodes.checkout, { ...nodes.orders, services }],
        [],
        [flow(ORDERS, 'shop', 'orders')],
      );
      return [...signsOf([event], { edges: [toOrders], udp: 'off' }, known, Date.parse(NOW)).byEdge.keys()];
    };
    expect([edgesWith(['front']), edgesWith([])]).toEqual([
      [toOrders.id],
      [expect.stringContaining('service/shop/front')],
    ]);
  });
});

describe('of UDP', () => {
  const dns = { ...mapEdge(nodes.checkout, nodes.postgres, 53), id: 'dns', protocol: 'udp' } as const;
  const query = { src: `${CHECKOUT}:40000`, dst: `${POSTGRES}:53`, protocol: 'udp' };
  const others = { src: `${CHECKOUT}:40000`, dst: `${ORDERS}:514`, protocol: 'udp' };
  const signsWith = (udp: 'shown' | 'off') =>
    signsOf([seen(query), seen(others)], { edges: [edge, dns], udp }, directory, Date.parse(NOW));

  it('belong to the edges of UDP, and never to those of TCP', () => {
    const { byEdge, denied, unplaced } = signsWith('shown');
    expect(byEdge.get('dns')?.denied).toBe(1);
    expect(denied).toMatchObject([{ target: nodes.orders.id, port: 514, protocol: 'udp' }]);
    expect([byEdge.get(edge.id), unplaced]).toEqual([undefined, left()]);
  });

  it('belong to no edge while the map has none of UDP', () => {
    const { byEdge, denied, unplaced } = signsWith('off');
    expect([byEdge.size, denied, unplaced]).toEqual([0, [], left({ otherProtocol: 2 })]);
  });
});

describe('other events', () => {
  it('a full accept queue belongs to all edges to the port', () => {
    const full = { type: 'accept_queue_full', namespace: 'shop', pod: 'orders', port: 8080, refused: 7 };
    expect(signs(seen(full)).byEdge.get(edge.id)).toMatchObject({ queueFull: 7, denied: 0 });
    expect(signs(seen({ ...full, port: 81 })).byEdge.size).toBe(0);
  });

  describe('a full accept queue', () => {
    const full = seen({ type: 'accept_queue_full', namespace: 'shop', pod: 'orders', port: 8080, refused: 7 });
    const postgres = mapEdge(nodes.postgres, nodes.orders, 8080);
    const byService = { ...mapEdge(nodes.checkout, nodes.orders, 80), seenBy: 'client' } as const;
    const served = { ...mapEdge(nodes.checkout, nodes.orders, 81), seenBy: 'server' } as const;
    const edges = [edge, postgres, byService, served];
    const countsWith = (activities: Readonly<Record<string, Activity>>) => {
      const activityOf = ({ id }: { id: string }) => activities[id] ?? 'idle';
      const { byEdge } = signsOf([full], { edges, udp: 'off' }, directory, Date.parse(NOW), activityOf);
      return edges.map(({ id }) => [byEdge.get(id)?.queueFull ?? 0, byEdge.get(id)?.queueFullBehind ?? 0]);
    };
    const [none, own, behind] = [
      [0, 0],
      [7, 0],
      [0, 7],
    ];

    it('belongs to the edges to the port that are in use, and to all of them if none is', () => {
      expect(countsWith({ [edge.id]: 'working' })).toEqual([own, none, none, none]);
      expect(countsWith({})).toEqual([own, own, none, none]);
    });

    it('belongs to a failing edge with the port of a Service, as its client sees it', () => {
      const failing = { [byService.id]: 'failing', [served.id]: 'failing' } as const;
      expect(countsWith({ ...failing })).toEqual([none, none, behind, none]);
      expect(countsWith({ [byService.id]: 'working' })).toEqual([own, own, none, none]);
    });
  });

  it('of failed connections count as unanswered if SYNs were retransmitted', () => {
    const failed = { ...syn, type: 'connection_failed', cause: 'given_up' };
    const { byEdge } = signs(seen({ ...failed, retransmits: 2, count: 3 }), seen({ ...failed, retransmits: 0 }));
    expect(byEdge.get(edge.id)?.unanswered).toBe(3);
  });

  it('are listed, but do not count', () => {
    const { byEdge } = signs(seen({ ...syn, type: 'connection_failed', cause: 'refused' }));
    expect(byEdge.get(edge.id)).toMatchObject({ denied: 0, dropped: 0, events: [expect.anything()] });
  });
});

it.each([
  ['10.0.0.1:53', { ip: '10.0.0.1', port: 53 }],
  ['[fd00::1]:53', { ip: 'fd00::1', port: 53 }],
  ['10.0.0.1', { ip: '10.0.0.1', port: null }],
  ['fd00::1', { ip: 'fd00::1', port: null }],
])('parses %s', (text, end) => {
  expect(parseEnd(text)).toEqual(end);
});
