import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { AddressBook, type AddressOwner } from '#peers/address_book.ts';
import type { OwnerKind } from '#peers/claims.ts';
import type { Owners } from '#peers/peer.ts';
import { PeerResolver } from '#peers/resolver.ts';
import { withPeers } from './enrich.ts';

function owner(kind: OwnerKind, name: string, ips: readonly string[], createdMs = 0): AddressOwner {
  return { kind, namespace: kind === 'node' ? '' : 'shop', name, createdMs, ips };
}

describe('the peer', () => {
  const book = new AddressBook();
  book.set('1', [owner('pod', 'web-1', ['10.0.0.1'], 1)]);
  book.set('2', [owner('pod', 'web-2', ['10.0.0.2', 'fd00::2'], 1)]);
  book.set('3', [owner('node', 'node-1', ['192.168.0.1'])]);
  book.set('4', [owner('service', 'db', ['10.96.0.1'])]);
  book.set('5', [owner('pod', 'far', ['10.1.0.1'])]);
  const owners: Owners = {
    find: (ip) => book.find(ip),
    isLocal: (_, pod) => pod.startsWith('web'),
    isPending: () => false,
    isOutside: () => true,
    serviceWorkloads: () => [],
  };
  const peer = (namespace: string | null, pod: string | null, src: string, dst: string, given = owners) =>
    withPeers(
      { namespace, pod, ...(src === '' ? {} : { src }), dst, message: '' } as unknown as EventRecord,
      'node-1',
      new PeerResolver(() => given),
    ).peer;

  it.each([
    ['sent', 'shop', 'web-1', '10.0.0.1:5', '10.96.0.1:80', 'db'],
    ['received', 'shop', 'web-1', '10.0.0.2:5', '10.0.0.1:80', 'web-2'],
    ['IPv6', 'shop', 'web-2', '[fd00::2]:5', '192.168.0.1:80', 'node-1'],
    ['without ports', 'shop', 'web-2', 'fd00::2', '10.0.0.1', 'web-1'],
    ['the node', '', '', '192.168.0.1:5', '10.0.0.1:80', 'web-1'],
    ['forwarded by the node', '', '', '10.0.0.1:5', '10.1.0.1:80', 'far'],
    ['a neighbour of the node', '', '', '', '10.0.0.1', 'web-1'],
    ['a neighbour of a Pod', 'shop', 'web-1', '', '192.168.0.1', 'node-1'],
    ['an address of its own that is not known yet', 'shop', 'young', '10.0.0.9:5', '10.96.0.1:80', 'db'],
  ])('%s', (_, namespace, pod, src, dst, name) => {
    expect(peer(namespace, pod, src, dst)?.name).toBe(name);
  });

  it('and the owners are those of the inner addresses if the packet is in a tunnel', () => {
    const inner = { innerSrc: '10.0.0.1:5', innerDst: '10.1.0.1:80', innerProtocol: 'tcp' };
    const outer = { src: '192.168.0.1:5', dst: '192.168.0.9:4789', protocol: 'udp' };
    const event = { type: 'packet_drop', namespace: '', pod: '', ...outer, ...inner } as unknown as EventRecord;
    const named = withPeers(event, 'node-1', new PeerResolver(() => owners));
    expect([named.srcOwner?.name, named.dstOwner?.name, named.peer?.name]).toEqual(['web-1', 'far', 'far']);
  });

  it.each([
    ['itself', 'shop', 'web-1', '10.0.0.1:5', '10.0.0.1:80'],
    ['itself as a neighbour', 'shop', 'web-1', '', '10.0.0.1'],
    ['a neighbour that may have been this Pod', 'shop', 'young', '', '10.0.0.2'],
    ['loopback', 'shop', 'web-1', '127.0.0.1:5', '127.0.0.1:80'],
    ['the owner of the event is unknown', null, null, '10.0.0.1:5', '10.0.0.2:80'],
    ['a private address that nobody has', 'shop', 'web-1', '10.0.0.1:5', '10.77.0.1:80'],
    ['a young Pod, and a Pod of this node that may have had its address', 'shop', 'young', '10.0.0.2:5', '10.0.0.9:80'],
    ['neither address is its own', 'shop', 'young', '10.0.0.2:5', '10.1.0.1:80'],
  ])('is left out: %s', (_, namespace, pod, src, dst) => {
    expect(peer(namespace, pod, src, dst)).toBeUndefined();
  });

  it('has the name that metrics use for it', () => {
    const named = (owner: Partial<AddressOwner>) => {
      const names = new AddressBook();
      names.set('1', [{ kind: 'pod', namespace: 'shop', name: 'db-0', createdMs: 1, ips: ['10.1.0.1'], ...owner }]);
      const given = { ...owners, find: (ip: string) => names.find(ip) };
      return peer('shop', 'web-1', '10.0.0.1:5', '10.1.0.1:80', given);
    };
    const pod = { kind: 'pod', namespace: 'shop', name: 'db-0', ip: '10.1.0.1' };
    expect(named({ group: 'db' })).toEqual({ ...pod, workload: 'db' });
    expect(named({ kind: 'endpoint', group: 'db' })).toEqual({ ...pod, service: 'db' });
    expect(named({ kind: 'endpoint' })).toEqual(pod);
  });

  it('is external if it is public, and all addresses of the cluster are known', () => {
    const args = ['shop', 'web-1', '10.0.0.1:5', '203.0.113.9:443'] as const;
    expect(peer(...args)).toEqual({ kind: 'external', namespace: '', name: '', ip: '203.0.113.9' });
    expect(peer(...args, { ...owners, isOutside: () => false })).toBeUndefined();
  });
});

describe('both ends of a dropped packet', () => {
  const book = new AddressBook();
  const add = (name: string, given: Partial<AddressOwner>, ip: string) =>
    book.set(ip, [{ kind: 'pod', namespace: 'shop', name, createdMs: 1, ips: [ip], ...given }]);
  add('redis-0', { group: 'redis' }, '10.0.0.1');
  add('cart-1', { kind: 'endpoint', group: 'cart' }, '10.1.0.1');
  add('node-1', { kind: 'node', namespace: '' }, '192.168.0.1');
  const owners: Owners = {
    find: (ip) => book.find(ip),
    isLocal: (_, pod) => pod === 'redis-0',
    isPending: () => false,
    isOutside: () => true,
    serviceWorkloads: () => [],
  };
  const redis = { kind: 'pod', namespace: 'shop', name: 'redis-0', workload: 'redis', ip: '10.0.0.1' };
  const cart = { kind: 'pod', namespace: 'shop', name: 'cart-1', service: 'cart', ip: '10.1.0.1' };
  const endsOf = (fields: Partial<EventRecord>, given = owners) => {
    const event = { type: 'packet_drop', namespace: '', pod: '', message: '', ...fields } as unknown as EventRecord;
    const { srcOwner, dstOwner } = withPeers(event, 'node-1', new PeerResolver(() => given));
    return [srcOwner, dstOwner];
  };
  const asked = { src: '10.1.0.1:40000', dst: '10.0.0.1:6379' };
  const answered = { src: asked.dst, dst: asked.src };
  const inRedis = { namespace: 'shop', pod: 'redis-0' };

  it('are named if the node forwards it', () => {
    expect(endsOf(asked)).toEqual([cart, redis]);
    expect(endsOf(answered)).toEqual([redis, cart]);
  });

  it('are named in the namespace of a Pod', () => {
    expect(endsOf({ ...asked, ...inRedis })).toEqual([cart, redis]);
    expect(endsOf({ ...answered, ...inRedis })).toEqual([redis, cart]);
  });

  it('are named as far as they are known', () => {
    expect(endsOf({ ...asked, src: '10.77.0.1:40000' })).toEqual([undefined, redis]);
    expect(endsOf({ ...asked, src: '203.0.113.9:40000' })).toEqual([
      { kind: 'external', namespace: '', name: '', ip: '203.0.113.9' },
      redis,
    ]);
    expect(endsOf({ dst: asked.dst })).toEqual([undefined, redis]);
    expect(endsOf({})).toEqual([undefined, undefined]);
  });

  it('have no name that may be that of an earlier owner', () => {
    const young = { namespace: 'shop', pod: 'young' };
    expect(endsOf({ ...asked, ...young })).toEqual([undefined, undefined]);
    expect(endsOf({ ...asked, ...young, dst: '10.0.0.9:80' })).toEqual([cart, undefined]);
    expect(endsOf({ ...asked, namespace: null, pod: null })).toEqual([undefined, undefined]);
  });

  it('are network namespaces without Kubernetes', () => {
    const names = new Map([
      ['10.0.0.1', 'server'],
      ['10.1.0.1', 'client'],
    ]);
    const find = (ip: string) => {
      const name = names.get(ip);
      return name === undefined ? undefined : ({ kind: 'local', name } as const);
    };
    const local = (name: string, ip: string) => ({ kind: 'local', namespace: '', name, ip });
    const ends = [local('client', '10.1.0.1'), local('server', '10.0.0.1')];
    expect(endsOf(asked, { ...owners, find, isLocal: () => false })).toEqual(ends);
    expect(endsOf({ ...asked, namespace: '', pod: 'server' }, { ...owners, find, isLocal: () => false })).toEqual(ends);
  });

  it('are not added to other events, which have a peer', () => {
    expect(endsOf({ ...asked, type: 'tcp_retransmit' })).toEqual([undefined, undefined]);
  });
});
