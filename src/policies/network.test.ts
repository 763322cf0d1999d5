import { BlockList } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { contains, parseAddress, parseNetwork } from './network.ts';

const bytes = (length: number) => fc.array(fc.integer({ min: 0, max: 255 }), { minLength: length, maxLength: length });
/** Generates addresses from only a few different bytes, so they often have a long common prefix. */
const near = (length: number) =>
  fc.array(fc.constantFrom(0, 1, 127, 128, 255), { minLength: length, maxLength: length });
const ipv4 = fc.oneof(bytes(4), near(4)).map((parts) => parts.join('.'));
const ipv6 = fc
  .oneof(bytes(16), near(16))
  .map((parts) =>
    Array.from({ length: 8 }, (_, at) =>
      ((((parts[2 * at] ?? 0) << 8) | (parts[2 * at + 1] ?? 0)) >>> 0).toString(16),
    ).join(':'),
  );

it.each([
  ['ipv4', ipv4, 32],
  ['ipv6', ipv6, 128],
] as const)('contains the same %s addresses as Node.js says', (family, ip, bits) => {
  fc.assert(
    fc.property(ip, fc.integer({ min: 0, max: bits }), ip, (base, prefix, asked) => {
      const list = new BlockList();
      list.addSubnet(base, prefix, family);
      const network = parseNetwork(`${base}/${prefix}`);
      const address = parseAddress(asked);
      if (network === undefined || address === undefined) throw new Error('not parsed');
      // BlockList treats an IPv4-mapped address as IPv6, but parseAddress() treats it as IPv4.
      if (address.isV6 === network.isV6) expect(contains(network, address)).toBe(list.check(asked, family));
    }),
  );
});

it('reads an address with IPv4 in IPv6 as IPv4', () => {
  const [network, address] = [parseNetwork('10.0.0.0/8'), parseAddress('::ffff:10.1.2.3')];
  expect(network && address && contains(network, address)).toBe(true);
});

it.each([
  '',
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0/8',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  'fd00::/129',
  'x/8',
  '010.0.0.0/8',
  ' 10.0.0.0/8',
  '::ffff:10.0.0.0/104',
])('refuses %j', (text) => expect(parseNetwork(text)).toBeUndefined());
