import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AddressBook, type AddressOwner } from './address_book.ts';
import type { OwnerKind } from './claims.ts';

function owner(kind: OwnerKind, name: string, ips: readonly string[], createdMs = 0, group = ''): AddressOwner {
  return { kind, namespace: kind === 'node' ? '' : 'shop', name, createdMs, ips, group };
}

it('lists every Service whose slices have a Pod with the address, beside the Pod itself', () => {
  const book = new AddressBook();
  book.set('u1', [owner('pod', 'web-1', ['10.0.0.1'], 0, 'web')]);
  book.set('s1', [
    owner('endpoint', 'web-1', ['10.0.0.1'], 0, 'web'),
    owner('endpoint', 'web-2', ['10.0.0.2'], 0, 'web'),
  ]);
  book.set('s2', [owner('endpoint', 'web-1', ['10.0.0.1'], 0, 'metrics')]);
  const services = (ip: string) =>
    book
      .endpoints(ip)
      .map(({ name, group }) => `${name} ${group}`)
      .sort();
  expect(services('::ffff:10.0.0.1')).toEqual(['web-1 metrics', 'web-1 web']);
  book.delete('s1');
  expect([services('10.0.0.1'), services('10.0.0.2'), services('nonsense')]).toEqual([['web-1 metrics'], [], []]);
});

describe('the owner of an address', () => {
  it('is the one in the present objects', () => {
    const book = new AddressBook();
    book.set('u1', [{ ...owner('pod', 'web-1', ['10.0.0.1', 'FD00:0::1'], 0, 'web'), zone: 'z1' }]);
    expect(book.find('10.0.0.1')).toEqual({ kind: 'pod', namespace: 'shop', name: 'web-1', group: 'web', zone: 'z1' });
    expect(book.find('fd00::1')?.name).toBe('web-1');
    expect(book.find('::ffff:10.0.0.1')?.name).toBe('web-1');
    book.set('u1', [owner('pod', 'web-1', [])]);
    expect(book.find('10.0.0.1')).toBeUndefined();
    expect(book.size).toBe(0);
  });

  it('is never a Pod that is gone, or had the address before', () => {
    const book = new AddressBook();
    book.set('old', [owner('pod', 'old', ['10.0.0.1'], 1)]);
    book.set('new', [owner('pod', 'new', ['10.0.0.1'], 2)]);
    expect(book.find('10.0.0.1')?.name).toBe('new');
    book.delete('old');
    expect(book.find('10.0.0.1')?.name).toBe('new');
    book.delete('new');
    expect(book.find('10.0.0.1')).toBeUndefined();
  });

  it('is the Pod that got it last, although it was created first or at the same time', () => {
    const book = new AddressBook();
    book.set('first', [owner('pod', 'waited', [], 1)]);
    book.set('second', [owner('pod', 'short', ['10.0.0.1'], 2)]);
    book.set('third', [owner('pod', 'twin', ['10.0.0.2'], 2)]);
    book.set('fourth', [owner('pod', 'other-twin', ['10.0.0.2'], 2)]);
    book.set('first', [owner('pod', 'waited', ['10.0.0.1'], 1)]);
    expect(book.find('10.0.0.1')?.name).toBe('waited');
    expect(book.find('10.0.0.2')?.name).toBe('other-twin');
    // This Pod had the address before. Its update must not count as a new claim to the address.
    book.set('second', [owner('pod', 'short', ['10.0.0.1'], 2)]);
    book.set('third', [owner('pod', 'twin', ['10.0.0.2'], 2)]);
    expect(book.find('10.0.0.1')?.name).toBe('waited');
    expect(book.find('10.0.0.2')?.name).toBe('other-twin');
  });

  it('is the newer Pod of a list, and unknown if nothing says which is newer', () => {
    const book = new AddressBook();
    book.set('b', [owner('pod', 'newer', ['10.0.0.1'], 2)], false);
    book.set('a', [owner('pod', 'older', ['10.0.0.1'], 1)], false);
    expect(book.find('10.0.0.1')?.name).toBe('newer');
    book.set('slice', [owner('endpoint', 'a', ['10.0.0.2']), owner('endpoint', 'b', ['10.0.0.2'])]);
    expect(book.find('10.0.0.2')).toBeUndefined();
    book.set('slice', [owner('endpoint', 'a', ['10.0.0.2'])]);
    book.set('other', [owner('endpoint', 'a', ['10.0.0.2'])]);
    expect(book.find('10.0.0.2')?.name).toBe('a');
  });

  it('is the node if a Pod uses it as well, and a Pod or Service rather than an EndpointSlice', () => {
    const book = new AddressBook();
    book.set('pod', [owner('pod', 'on-host', ['192.0.2.1'], 5)]);
    book.set('node', [owner('node', 'node-1', ['192.0.2.1'])]);
    expect(book.find('192.0.2.1')).toMatchObject({ kind: 'node', name: 'node-1' });
    book.set('service', [owner('service', 'db', ['10.96.0.1'])]);
    book.set('slice', [owner('endpoint', 'claims-it', ['10.96.0.1'])]);
    expect(book.find('10.96.0.1')).toMatchObject({ kind: 'service', name: 'db' });
  });

  it('has the plainest name of the Services that list the same Pod, in whatever order they come', () => {
    const services = ['db-headless', 'db', 'pg'];
    for (const order of [services, services.toReversed()]) {
      const book = new AddressBook();
      for (const service of order)
        book.set(`slice of ${service}`, [owner('endpoint', 'db-0', ['10.0.0.1'], 0, service)]);
      expect(book.find('10.0.0.1')).toMatchObject({ kind: 'endpoint', name: 'db-0', group: 'db' });
      book.delete('slice of db');
      expect(book.find('10.0.0.1')).toMatchObject({ group: 'pg' });
      book.delete('slice of pg');
      expect(book.find('10.0.0.1')).toMatchObject({ group: 'db-headless' });
    }
  });

  it('is told when it changes, and not when an object comes again unchanged', () => {
    const told: string[] = [];
    const book = new AddressBook({ changed: (ip) => told.push(ip) });
    const set = (group: string, ips: readonly string[]) => book.set('u', [owner('pod', 'web-1', ips, 1, group)]);
    const changes = () => told.splice(0);
    set('web', ['10.0.0.1', 'fd00::1']);
    expect(changes()).toEqual(['10.0.0.1', 'fd00::1']);
    set('web', ['10.0.0.1', 'fd00::1']);
    expect(changes()).toEqual([]);
    set('other', ['10.0.0.1', 'fd00::2']);
    expect(changes()).toEqual(['10.0.0.1', 'fd00::2', 'fd00::1']);
    book.delete('u');
    expect(changes().sort()).toEqual(['10.0.0.1', 'fd00::2']);
  });

  it('has a limited number of claimants, which bounds the cost of a lookup', () => {
    const book = new AddressBook();
    for (let slice = 0; slice < 300; slice++) book.set(`s${slice}`, [owner('endpoint', `p${slice}`, ['10.0.0.1'])]);
    expect([book.size, book.leftOut]).toEqual([1, 44]);
    for (let slice = 0; slice < 299; slice++) book.delete(`s${slice}`);
    expect([book.size, book.leftOut]).toEqual([0, 1]);
  });

  it('is bounded, and says what was left out', () => {
    const book = new AddressBook({ max: 2 });
    book.set('a', [owner('pod', 'a', ['10.0.0.1', '10.0.0.2', '10.0.0.3'])]);
    expect([book.size, book.leftOut]).toEqual([2, 1]);
    book.set('b', [owner('pod', 'b', ['10.0.0.1'], 1)]);
    expect(book.leftOut).toBe(1);
    expect(book.find('10.0.0.1')?.name).toBe('b');
    book.delete('a');
    expect([book.size, book.leftOut]).toEqual([1, 0]);
  });

  it('has claims of a limited number in total', () => {
    const book = new AddressBook({ max: 2 });
    for (let slice = 0; slice < 10; slice++) book.set(`s${slice}`, [owner('endpoint', 'p', ['10.0.0.1'])]);
    expect([book.size, book.leftOut]).toEqual([1, 2]);
  });
});

it('an address that a thousand Pods get one after the other has the name of the last one, or none in between', () => {
  const told: string[] = [];
  const book = new AddressBook({ changed: (ip) => told.push(ip) });
  const ip = '10.0.0.1';
  const nameOf = () => book.find(ip)?.name;
  let old = randomUUID();
  for (let nth = 0; nth < 1_000; nth++) {
    const [uid, name] = [randomUUID(), `pod-${nth}`];
    const claim = (object: string, of: string, ips: readonly string[]) =>
      book.set(object, [owner('pod', of, ips, 1_000)]);
    if (nth % 2 === 0) {
      book.delete(old);
      expect(nameOf()).toBeUndefined();
      claim(uid, name, []);
      expect(nameOf()).toBeUndefined();
      claim(uid, name, [ip]);
    } else {
      claim(uid, name, [ip]);
      expect(nameOf()).toBe(name);
      // The API sends a last update of the previous Pod, and its deletion, after the next Pod has the address.
      claim(old, `pod-${nth - 1}`, [ip]);
      expect(nameOf()).toBe(name);
      book.delete(old);
    }
    expect(nameOf()).toBe(name);
    old = uid;
  }
  expect(book.size).toBe(1);
  // Each Pod gained and lost the address once. The last Pod still has it.
  expect(told).toHaveLength(1_999);
});
