import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf, formatEndpoint, formatIp, formatIpWords, parseIp, portOf, readIpWords } from './address.ts';

/** Returns sixteen bytes from groups of four hexadecimal digits. */
function v6(...groups: readonly number[]): Uint8Array {
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

describe('formatIp', () => {
  it.each([
    [Uint8Array.of(10, 0, 0, 1), '10.0.0.1'],
    [v6(0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001), '10.0.0.1'],
    [v6(0, 0, 0, 0, 0, 0, 0, 1), '::1'],
    [v6(0, 0, 0, 0, 0, 0, 0, 0), '::'],
    [v6(0xfe80, 0, 0, 0, 0, 0, 0, 1), 'fe80::1'],
    [v6(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1), '2001:db8:0:1::1'],
    [v6(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1), '2001:db8::1:0:0:1'],
    [v6(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1), '2001:db8:0:1:1:1:1:1'],
    [v6(1, 0, 0, 0, 0, 0, 0, 0), '1::'],
  ])('%j is %s', (bytes, expected) => expect(formatIp(bytes)).toBe(expected));

  it('always gives a valid address that means the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = formatIp(bytes);
        const mapped = text.includes('.') ? `::ffff:${text}` : text;
        // The URL parser converts all notations of an address to the one of RFC 5952.
        return isIPv6(mapped) && new URL(`http://[${mapped}]`).hostname === new URL(`http://[${full(bytes)}]`).hostname;
      }),
    );
  });
});

function full(bytes: Uint8Array): string {
  return Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  ).join(':');
}

it('puts the port behind the address, in brackets if it is IPv6', () => {
  expect(formatEndpoint(Uint8Array.of(10, 0, 0, 1), 53)).toBe('10.0.0.1:53');
  expect(formatEndpoint(v6(0, 0, 0, 0, 0, 0, 0, 1), 53)).toBe('[::1]:53');
  expect(formatEndpoint(v6(0, 0, 0, 0, 0, 0, 0, 1), undefined)).toBe('::1');
});

describe('parseIp', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['FD00:0:0::0001', 'fd00::1'],
    ['::', '::'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ])('%s is %s', (text, ip) => expect(parseIp(text)).toBe(ip));

  it.each([
    '',
    '*',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.01',
    '1',
    '0x7f.0.0.1',
    '10.0.0.1:80',
    '[::1]',
    '::1%eth0',
    ':::',
    '1::2::3',
    'fd00::1]/@x',
    '10.0.0.1.',
    'localhost',
    '::ffff:10.0.0.256',
  ])('%s is no address', (text) => expect(parseIp(text)).toBeUndefined());

  it('gives back every address that formatIp writes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.array(fc.constantFrom(0, 0, 255), { minLength: 16, maxLength: 16 }).map((list) => Uint8Array.from(list)),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
    );
    fc.assert(
      fc.property(bytes, (address) => {
        expect(parseIp(formatIp(address))).toBe(formatIp(address));
        const words = new Uint32Array(4);
        expect(readIpWords(formatIp(address), words)).toBe(true);
        expect(formatIpWords(words)).toBe(formatIp(address));
      }),
    );
  });

  it('is not written as words if it is none', () => expect(readIpWords('localhost', new Uint32Array(4))).toBe(false));
});

describe('an endpoint', () => {
  it.each([
    ['10.0.0.1:53', '10.0.0.1', 53],
    ['10.0.0.1', '10.0.0.1', undefined],
    ['[2001:db8::1]:65535', '2001:db8::1', 65_535],
    ['2001:db8::1', '2001:db8::1', undefined],
    ['::', '::', undefined],
  ])('%s has its address and its port', (endpoint, address, port) => {
    expect([addressOf(endpoint), portOf(endpoint)]).toEqual([address, port]);
  });
});
