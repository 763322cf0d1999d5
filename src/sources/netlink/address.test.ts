import { describe, expect, it } from 'vitest';
import { attribute, join, message } from '../../../test/support/netlink.ts';
import { decodeAddresses } from './address.ts';

const ignore = () => undefined;

const RTM_NEWADDR = 20;

describe('decodeAddresses', () => {
  const address = (scope: number, ...attributes: Uint8Array[]) =>
    message(RTM_NEWADDR, join(Uint8Array.of(2, 24, 0, scope, 2, 0, 0, 0), ...attributes));

  it('gives global addresses, the local end of a point-to-point device, nothing of other scopes', () => {
    const messages = join(
      address(0, attribute(1, Uint8Array.of(10, 0, 0, 9)), attribute(2, Uint8Array.of(10, 0, 0, 1))),
      address(253, attribute(1, Uint8Array.of(169, 254, 0, 1))),
      address(0, attribute(1, Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1))),
      address(0, attribute(1, Uint8Array.of(1, 2, 3))),
    );
    expect(decodeAddresses(messages, ignore)).toEqual(['10.0.0.1', 'fd00::1']);
  });
});
