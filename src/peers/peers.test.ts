import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { type PeerContext, withPeer } from '#events/enrich.ts';
import { AddressBook, type AddressOwner, type OwnerKind } from './address_book.ts';
import { isPublic, networks } from './public.ts';

function owner(kind: OwnerKind, name: string, ips: readonly string[], createdMs = 0): AddressOwner {
  return { kind, namespace: kind === 'node' ? '' : 'shop', name, createdMs, ips };
}

describe('whose an address is', () => {
  it('is what the objects say now', () => {
    const book = new AddressBook();
    book.set('u1', [owner('pod', 'web-1', ['10.0.0.1', 'FD00:0::1'])]);
    expect(book.find('10.0.0.1')).toEqual({ kind: 'pod', namespace: 'shop', name: 'web-1', ip: '10.0.0.1' });
    expect(book.find('fd00::1')?.name).toBe('web-1');
    book.set('u1', [owner('pod', 'web-1', [])]);
    expect(book.find('10.0.0.1')).toBeUndefined();
    expect(book.size).toBe(0);
  });

  it('is never that of a Pod that has gone, or was there before', () => {
    const book = new AddressBook();
    book.set('old', [owner('pod', 'old', ['10.0.0.1'], 1)]);
    book.set('new', [owner('pod', 'new', ['10.0.0.1'], 2)]);
    expect(book.find('10.0.0.1')?.name).toBe('new');
    book.delete('old');
    expect(book.find('10.0.0.1')?.name).toBe('new');
    book.delete('new');
    expect(book.find('10.0.0.1')).toBeUndefined();
  });

  it('is not told where two claim it and nothing says who came later', () => {
    const book = new AddressBook();
    book.set('slice', [owner('pod', 'a', ['10.0.0.1']), owner('pod', 'b', ['10.0.0.1'])]);
    expect(book.find('10.0.0.1')).toBeUndefined();
    book.set('slice', [owner('pod', 'a', ['10.0.0.1'])]);
    book.set('other', [owner('pod', 'a', ['10.0.0.1'])]);
    expect(book.find('10.0.0.1')?.name).toBe('a');
  });

  it('is the node’s where a Pod uses it as well', () => {
    const book = new AddressBook();
    book.set('pod', [owner('pod', 'on-host', ['192.0.2.1'], 5)]);
    book.set('node', [owner('node', 'node-1', ['192.0.2.1'])]);
    expect(book.find('192.0.2.1')).toMatchObject({ kind: 'node', name: 'node-1' });
  });

  it('is bounded, and says what was left out', () => {
    const book = new AddressBook(2);
    book.set('a', [owner('pod', 'a', ['10.0.0.1', '10.0.0.2', '10.0.0.3'])]);
    expect([book.size, book.leftOut]).toEqual([2, 1]);
    book.set('b', [owner('pod', 'b', ['10.0.0.1'], 1)]);
    expect(book.leftOut).toBe(1);
    expect(book.find('10.0.0.1')?.name).toBe('b');
    book.delete('a');
    expect([book.size, book.leftOut]).toEqual([1, 0]);
  });
});

describe('who is at the other end', () => {
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
    ['nobody knows whose the event is', null, null, '10.0.0.1:5', '10.0.0.2:80'],
    ['a private address that nobody has', 'shop', 'web-1', '10.0.0.1:5', '10.77.0.1:80'],
    ['a young Pod, and a Pod of this node that may have had its address', 'shop', 'young', '10.0.0.2:5', '10.0.0.9:80'],
    ['neither address is its own', 'shop', 'young', '10.0.0.2:5', '10.1.0.1:80'],
  ])('is not told: %s', (_, namespace, pod, src, dst) => {
    expect(peer(namespace, pod, src, dst)).toBeUndefined();
  });

  it('is external where it is public, and all addresses of the cluster are known', () => {
    const args = ['shop', 'web-1', '10.0.0.1:5', '203.0.113.9:443'] as const;
    expect(peer(...args)).toEqual({ kind: 'external', namespace: '', name: '', ip: '203.0.113.9' });
    expect(peer(...args, { ...context, isExternal: undefined })).toBeUndefined();
    expect(peer(...args, { ...context, isExternal: () => false })).toBeUndefined();
  });
});

it('public addresses are those that the internet routes', () => {
  for (const ip of ['8.8.8.8', '203.0.113.9', '2001:db8::1']) expect(isPublic(ip), ip).toBe(true);
  for (const ip of [
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.1.1',
    '224.0.0.1',
    'fd00::1',
    'fe80::1',
    '::1',
    'x',
  ]) {
    expect(isPublic(ip), ip).toBe(false);
  }
});

it('networks contain their addresses; what is none is left out', () => {
  const contains = networks(['2001:db8:1::/64', '198.51.100.0/24', 'x', '1.2.3.4', '1.2.3.4/99']);
  expect(['2001:db8:1::5', '198.51.100.7', '2001:db8:2::5', '1.2.3.4'].map(contains)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
