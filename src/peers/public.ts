import { BlockList, isIP } from 'node:net';

/**
 * Networks that are not globally routed: entries of the IANA IPv4 special-purpose address registry, multicast and
 * reserved.
 */
const PRIVATE_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const;
/** The only range from which IANA has allocated global unicast IPv6 addresses. */
const PUBLIC_V6 = ['2000::', 3] as const;

const privateV4 = new BlockList();
for (const [network, prefix] of PRIVATE_V4) privateV4.addSubnet(network, prefix, 'ipv4');
const publicV6 = new BlockList();
publicV6.addSubnet(...PUBLIC_V6, 'ipv6');

export function isPublic(ip: string): boolean {
  switch (isIP(ip)) {
    case 4:
      return !privateV4.check(ip, 'ipv4');
    case 6:
      return publicV6.check(ip, 'ipv6');
    default:
      return false;
  }
}

/**
 * Returns a function that tests whether an address is in any of these networks, such as `2001:db8::/64`. Malformed
 * networks are ignored.
 */
export function networks(cidrs: Iterable<string>): (ip: string) => boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = '', prefix = ''] = cidr.split('/');
    const family = isIP(network);
    const length = Number(prefix);
    if (family === 0 || prefix === '' || !(length >= 0 && length <= (family === 4 ? 32 : 128))) continue;
    list.addSubnet(network, length, family === 4 ? 'ipv4' : 'ipv6');
  }
  return (ip) => list.check(ip, ip.includes(':') ? 'ipv6' : 'ipv4');
}
