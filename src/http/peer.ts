import { BlockList, isIPv6, type Socket } from 'node:net';

/** Identifies a connection. A TCP socket and the TLS socket on top of it have the same key. */
export type PeerKey = string | Socket;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
LOOPBACK.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Whether an address is loopback. IPv6 addresses have no brackets. */
export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

export function keyOf(socket: Socket): PeerKey {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return remotePort === undefined ? socket : [remoteAddress, remotePort, localAddress, localPort].join();
}

/** Owner of all connections over the Unix socket. */
export const UNIX = 'unix';

const MAPPED = /^::ffff:(?=[\d.]+$)/;
/**
 * Number of leading 16-bit groups of an IPv6 address that identify the owner. The remaining groups are ignored, because
 * one machine can use many addresses of its network.
 */
const NETWORK_GROUPS = 4;

/** Returns the owner of a connection: an IPv4 address, an IPv6 /64 network, loopback, or the Unix socket. */
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

/** Whether both ends of a connection are loopback. */
export function isLocal({ localAddress, remoteAddress }: Socket): boolean {
  return isLoopback(localAddress) && isLoopback(remoteAddress);
}
