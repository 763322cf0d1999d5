import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { AddressBook, type AddressOwner, type OwnerKind } from '#peers/address_book.ts';
import { type PeerContext, withPeer } from './enrich.ts';

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
  const context: PeerContext = {
    node: 'node-1',
    find: (ip) => book.find(ip),
    isLocal: (_, pod) => pod.startsWith('web'),
    isExternal: () => true,
  };
  const peer = (namespace: string | null, pod: string | null, src: string, dst: string, given = context) =>
    withPeer({ namespace, pod, src, dst, message: '' } as unknown as EventRecord, given).peer;

  it.each([
    ['sent', 'shop', 'web-1', '10.0.0.1:5', '10.96.0.1:80', 'db'],
    ['received', 'shop', 'web-1', '10.0.0.2:5', '10.0.0.1:80', 'web-2'],
    ['IPv6', 'shop', 'web-2', '[fd00::2]:5', '192.168.0.1:80', 'node-1'],
    ['without ports', 'shop', 'web-2', 'fd00::2', '10.0.0.1', 'web-1'],
    ['the node', '', '', '192.168.0.1:5', '10.0.0.1:80', 'web-1'],
    ['forwarded by the node', '', '', '10.0.0.1:5', '10.1.0.1:80', 'far'],
    ['an address of its own that is not known yet', 'shop', 'young', '10.0.0.9:5', '10.96.0.1:80', 'db'],
  ])('%s', (_, namespace, pod, src, dst, name) => {
    expect(peer(namespace, pod, src, dst)?.name).toBe(name);
  });

  it.each([
    ['itself', 'shop', 'web-1', '10.0.0.1:5', '10.0.0.1:80'],
    ['loopback', 'shop', 'web-1', '127.0.0.1:5', '127.0.0.1:80'],
    ['the owner of the event is unknown', null, null, '10.0.0.1:5', '10.0.0.2:80'],
    ['a private address that nobody has', 'shop', 'web-1', '10.0.0.1:5', '10.77.0.1:80'],
    ['a young Pod, and a Pod of this node that may have had its address', 'shop', 'young', '10.0.0.2:5', '10.0.0.9:80'],
    ['neither address is its own', 'shop', 'young', '10.0.0.2:5', '10.1.0.1:80'],
  ])('is left out: %s', (_, namespace, pod, src, dst) => {
    expect(peer(namespace, pod, src, dst)).toBeUndefined();
  });

  it('is external if it is public, and all addresses of the cluster are known', () => {
    const args = ['shop', 'web-1', '10.0.0.1:5', '203.0.113.9:443'] as const;
    expect(peer(...args)).toEqual({ kind: 'external', namespace: '', name: '', ip: '203.0.113.9' });
    expect(peer(...args, { ...context, isExternal: undefined })).toBeUndefined();
    expect(peer(...args, { ...context, isExternal: () => false })).toBeUndefined();
  });
});
