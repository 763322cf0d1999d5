import { BlockList, isIP } from 'node:net';

interface Network {
  readonly addresses: BlockList;
  readonly prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;

function parse(cidr: string): Network | undefined {
  const [network = '', length = ''] = cidr.split('/');
  const family = isIP(network);
  const prefix = Number(length);
  if ((family !== 4 && family !== 6) || !/^\d+$/.test(length) || prefix > BITS[family]) return undefined;
  const addresses = new BlockList();
  addresses.addSubnet(network, prefix, family === 4 ? 'ipv4' : 'ipv6');
  return { addresses, prefix };
}

/** Whether a string is a network in CIDR notation, such as `10.0.0.0/16` or `fd00::/48`. */
export function isNetwork(cidr: string): boolean {
  return parse(cidr) !== undefined;
}

/** A list of IPv4 and IPv6 networks. Invalid networks are ignored. */
export class NetworkList {
  readonly #networks: readonly Network[];

  constructor(cidrs: readonly string[]) {
    this.#networks = cidrs.flatMap((cidr) => parse(cidr) ?? []);
  }

  /**
   * Whether one of the networks contains the address or, if a prefix length is given, the whole network of that length.
   */
  contains(address: string, prefix: number = Number.POSITIVE_INFINITY): boolean {
    const family = address.includes(':') ? 'ipv6' : 'ipv4';
    return this.#networks.some((network) => network.prefix <= prefix && network.addresses.check(address, family));
  }
}
