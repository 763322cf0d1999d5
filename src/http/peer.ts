import { BlockList, isIPv6, type Socket } from 'node:net';

/** Key that is the same for a TCP connection and for the TLS inside it; a Unix socket has no TLS. */
export type PeerKey = string | Socket;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
LOOPBACK.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Returns whether an address is loopback; in the form of the kernel or a URL, without brackets. */
export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

export function keyOf(socket: Socket): PeerKey {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return remotePort === undefined ? socket : [remoteAddress, remotePort, localAddress, localPort].join();
}

/** Owner of every connection by a Unix socket. */
export const UNIX = 'unix';

const MAPPED = /^::ffff:(?=[\d.]+$)/;
/** Number of groups of an IPv6 address that belong to one machine. */
const NETWORK_GROUPS = 4;

/** Returns the owner of a connection, as far as it shows: an address, a network of IPv6, or everybody who may open the Unix socket. */
export function ownerOf({ remoteAddress }: Socket): string {
  if (remoteAddress === undefined) return UNIX;
  const address = remoteAddress.replace(MAPPED, '');
  if (!isIPv6(address) || isLoopback(address)) return isLoopback(address) ? 'loopback' : address;
  const [head = '', tail = ''] = address.split('::');
  const heads = head.split(':');
  const tails = tail === '' ? [] : tail.split(':');
  const zeros = address.includes('::') ? Array<string>(8 - heads.length - tails.length).fill('0') : [];
  return [...heads, ...zeros, ...tails].slice(0, NETWORK_GROUPS).join(':');
}

/** Returns whether both ends are on this machine. */
export function isLocal({ localAddress, remoteAddress }: Socket): boolean {
  return isLoopback(localAddress) && isLoopback(remoteAddress);
}
