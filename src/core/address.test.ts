import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf, formatEndpoint, formatIp, portOf } from './address.ts';

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
        // The URL parser converts any notation of an address to that of RFC 5952.
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
