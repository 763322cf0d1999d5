import { formatIp } from '#core/address.ts';
import type { Malformed } from '../errors.ts';
import {
  type Attributes,
  bytesOf,
  decodeObjects,
  encodeRequest,
  length,
  NLM_F_DUMP,
  type Span,
  u8,
} from './message.ts';

/**
 * Reads the addresses of devices with RTM_GETADDR (man 7 rtnetlink). Kernel: net/ipv4/devinet.c, net/ipv6/addrconf.c.
 */

const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;

/** struct ifaddrmsg: family, prefix length, flags, scope, index. */
export const IFADDRMSG = { bytes: 8, prefix: 1, scope: 3, index: 4 } as const;
const RT_SCOPE_UNIVERSE = 0;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;

export const ADDRESS_REQUEST = encodeRequest(RTM_GETADDR, NLM_F_DUMP, new Uint8Array(IFADDRMSG.bytes));

/** Returns the IPv4 and IPv6 addresses with global scope, at which other hosts can reach the namespace. */
export function decodeAddresses(messages: Uint8Array, malformed: Malformed): string[] {
  const addresses: string[] = [];
  for (const { payload, attributes } of decodeObjects(messages, RTM_NEWADDR, IFADDRMSG.bytes, malformed)) {
    if (u8(payload, IFADDRMSG.scope) !== RT_SCOPE_UNIVERSE) continue;
    const address = localAddress(attributes);
    if (address !== undefined && (length(address) === 4 || length(address) === 16)) {
      addresses.push(formatIp(bytesOf(address)));
    } else {
      malformed('an address of an unknown length');
    }
  }
  return addresses;
}

/** Returns the local address. On a point-to-point device, IFA_ADDRESS contains the peer's address instead. */
export function localAddress(attributes: Attributes): Span | undefined {
  return attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
}
