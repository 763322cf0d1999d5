import { describe, expect, it } from 'vitest';
import { AddressBook, type AddressOwner, type OwnerKind } from './address_book.ts';

function owner(kind: OwnerKind, name: string, ips: readonly string[], createdMs = 0): AddressOwner {
  return { kind, namespace: kind === 'node' ? '' : 'shop', name, createdMs, ips };
}

describe('the owner of an address', () => {
  it('is the one in the present objects', () => {
    const book = new AddressBook();
    book.set('u1', [owner('pod', 'web-1', ['10.0.0.1', 'FD00:0::1'])]);
    expect(book.find('10.0.0.1')).toEqual({ kind: 'pod', namespace: 'shop', name: 'web-1', ip: '10.0.0.1' });
    expect(book.find('fd00::1')?.name).toBe('web-1');
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

  it('is unknown if two claim it and nothing says which came later', () => {
    const book = new AddressBook();
    book.set('slice', [owner('pod', 'a', ['10.0.0.1']), owner('pod', 'b', ['10.0.0.1'])]);
    expect(book.find('10.0.0.1')).toBeUndefined();
    book.set('slice', [owner('pod', 'a', ['10.0.0.1'])]);
    book.set('other', [owner('pod', 'a', ['10.0.0.1'])]);
    expect(book.find('10.0.0.1')?.name).toBe('a');
  });

  it('is the node if a Pod uses it as well', () => {
    const book = new AddressBook();
    book.set('pod', [owner('pod', 'on-host', ['192.0.2.1'], 5)]);
    book.set('node', [owner('node', 'node-1', ['192.0.2.1'])]);
    expect(book.find('192.0.2.1')).toMatchObject({ kind: 'node', name: 'node-1' });
  });

  it('has a limited number of claimants, which bounds the cost of a lookup', () => {
    const book = new AddressBook();
    for (let slice = 0; slice < 300; slice++) book.set(`s${slice}`, [owner('pod', `p${slice}`, ['10.0.0.1'])]);
    expect([book.size, book.leftOut]).toEqual([1, 44]);
    expect(book.find('10.0.0.1')).toBeUndefined();
    for (let slice = 0; slice < 299; slice++) book.delete(`s${slice}`);
    expect([book.size, book.leftOut]).toEqual([0, 1]);
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
