import { describe, expect, it } from 'vitest';
import type { Owner } from './claims.ts';
import type { Owners } from './peer.ts';
import { PeerResolver } from './resolver.ts';

const OWNERS: Readonly<Record<string, Owner>> = {
  '10.0.0.1': { kind: 'pod', namespace: 'shop', name: 'cart-6d4cf-x2', group: 'cart', zone: 'z1' },
  '10.0.0.2': { kind: 'endpoint', namespace: 'shop', name: 'db-0', group: 'db', zone: '' },
  '10.0.0.3': { kind: 'endpoint', namespace: 'shop', name: 'odd-0', group: '', zone: 'z2' },
  '10.96.0.1': { kind: 'service', namespace: 'shop', name: 'db', group: '', zone: '' },
  '192.0.2.1': { kind: 'node', namespace: '', name: 'node-1', group: '', zone: 'z1' },
};

function resolverOf(isWhole = true, isPending = false): PeerResolver {
  const owners: Owners = {
    find: (ip) => OWNERS[ip],
    isPending: () => isPending,
    isLocal: () => false,
    isOutside: () => isWhole,
    serviceWorkloads: () => [],
  };
  return new PeerResolver(() => owners);
}

describe('the identity of a peer', () => {
  const resolver = resolverOf();
  resolver.external = { names: { '10.9.0.0/16': 'datacenter', '10.0.0.0/8': 'company' }, by: 'collapse' };

  it.each([
    ['10.0.0.1', { kind: 'workload', namespace: 'shop', name: 'cart', zone: 'z1', pod: 'cart-6d4cf-x2' }],
    ['10.0.0.2', { kind: 'service', namespace: 'shop', name: 'db', pod: 'db-0' }],
    ['10.0.0.3', { kind: 'pod', namespace: 'shop', name: 'odd-0', zone: 'z2', pod: 'odd-0' }],
    ['10.96.0.1', { kind: 'service', namespace: 'shop', name: 'db' }],
    ['192.0.2.1', { kind: 'node', namespace: '', name: 'node-1', zone: 'z1' }],
    ['10.9.1.1', { kind: 'external', namespace: '', name: 'datacenter' }],
    ['::ffff:10.9.1.1', { kind: 'external', namespace: '', name: 'datacenter' }],
    ['10.8.1.1', { kind: 'external', namespace: '', name: 'company' }],
    ['203.0.113.7', { kind: 'external', namespace: '', name: '' }],
    ['192.168.7.7', { kind: 'unknown', namespace: '', name: '' }],
    ['fd00::7', { kind: 'unknown', namespace: '', name: '' }],
    ['nonsense', { kind: 'unknown', namespace: '', name: '' }],
  ])('of %s', (ip, identity) => expect(resolver.identify(ip)).toEqual(identity));

  it('is unknown for a public address that may be in the cluster, or without owners', () => {
    expect(resolverOf(false).identify('203.0.113.7').kind).toBe('unknown');
    expect(new PeerResolver(() => undefined).identify('203.0.113.7').kind).toBe('unknown');
  });

  it('is pending until all owners have been read, also in a named network, which may contain Services and Pods', () => {
    const early = resolverOf(false, true);
    early.external = { names: { '10.9.0.0/16': 'datacenter' }, by: 'address' };
    for (const ip of ['10.9.1.1', '203.0.113.7', '192.168.7.7', 'nonsense']) {
      expect(early.identify(ip), ip).toEqual({ kind: 'pending', namespace: '', name: '' });
      expect(early.find(ip), ip).toBeUndefined();
    }
    expect(early.identify('10.96.0.1')).toEqual({ kind: 'service', namespace: 'shop', name: 'db' });
  });

  it('agrees with the peer of an event', () => {
    expect(resolver.find('10.0.0.1')).toEqual({
      kind: 'pod',
      namespace: 'shop',
      name: 'cart-6d4cf-x2',
      workload: 'cart',
      ip: '10.0.0.1',
    });
    expect(resolver.find('10.0.0.2')).toEqual({
      kind: 'pod',
      namespace: 'shop',
      name: 'db-0',
      service: 'db',
      ip: '10.0.0.2',
    });
    expect(resolver.find('10.9.1.1')).toEqual({ kind: 'external', namespace: '', name: 'datacenter', ip: '10.9.1.1' });
    expect(resolver.find('192.168.7.7')).toBeUndefined();
    for (const ip of Object.keys(OWNERS)) {
      const peer = resolver.find(ip);
      const { kind, namespace, name, pod } = resolver.identify(ip);
      const named = { workload: peer?.workload, service: peer?.kind === 'pod' ? peer.service : peer?.name }[
        kind as string
      ];
      expect([peer?.namespace, named ?? peer?.name], ip).toEqual([namespace, name]);
      if (pod !== undefined) expect(peer, ip).toMatchObject({ kind: 'pod', name: pod });
    }
  });
});

it('whoever follows is told of changes until they stop', () => {
  const resolver = resolverOf();
  const told: (string | undefined)[] = [];
  const following = resolver.follow((ip) => void told.push(ip));
  resolver.changed('10.0.0.1');
  resolver.external = { names: {}, by: 'address' };
  following[Symbol.dispose]();
  resolver.changed('10.0.0.2');
  expect(told).toEqual(['10.0.0.1', undefined]);
  expect(resolver.identify('203.0.113.7').name).toBe('203.0.113.7');
});
