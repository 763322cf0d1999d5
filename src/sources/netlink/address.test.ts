import { describe, expect, it } from 'vitest';
import { addressMessage, join } from '../../../test/support/netlink.ts';
import { decodeAddresses } from './address.ts';

const ignore = () => undefined;

describe('decodeAddresses', () => {
  const message = (scope: number, attributes: { readonly address: Buffer; readonly local?: Buffer }) =>
    addressMessage({ family: 2, prefixlen: 24, scope, index: 2 }, attributes);

  it('gives global addresses, the local end of a point-to-point device, nothing of other scopes', () => {
    const messages = join(
      message(0, { address: Buffer.of(10, 0, 0, 9), local: Buffer.of(10, 0, 0, 1) }),
      message(253, { address: Buffer.of(169, 254, 0, 1) }),
      message(0, { address: Buffer.of(0xfd, ...new Array<number>(14).fill(0), 1) }),
      message(0, { address: Buffer.of(1, 2, 3) }),
    );
    expect(decodeAddresses(messages, ignore)).toEqual(['10.0.0.1', 'fd00::1']);
  });
});
