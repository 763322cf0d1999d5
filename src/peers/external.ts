import { BlockList } from 'node:net';
import { parseIp } from '#core/address.ts';

/** How to distinguish peers outside of the cluster for whose network the configuration has no name. */
export const EXTERNAL_BY = ['collapse', 'network', 'address'] as const;
export type ExternalBy = (typeof EXTERNAL_BY)[number];

export interface ExternalConfig {
  /** Names by network in CIDR notation. */
  readonly names: Readonly<Record<string, string>>;
  readonly by: ExternalBy;
}

export const NO_EXTERNAL: ExternalConfig = { names: {}, by: 'collapse' };

/**
 * Prefix lengths with which `by: network` groups addresses. Longer prefixes are generally not routed on the internet.
 */
const PREFIX = { v4: 24, v6: 48 } as const;

interface Named {
  readonly name: string;
  readonly prefix: number;
  readonly list: BlockList;
}

/** Names of peers outside of the cluster. */
export class ExternalNames {
  readonly #by: ExternalBy;
  /** Named networks, longest prefix first. */
  readonly #networks: readonly Named[];

  constructor({ names, by }: ExternalConfig) {
    this.#by = by;
    this.#networks = Object.entries(names)
      .map(([cidr, name]) => {
        const [network = '', length] = cidr.split('/');
        const list = new BlockList();
        list.addSubnet(network, Number(length), familyOf(network));
        return { name, prefix: Number(length), list };
      })
      .sort((a, b) => b.prefix - a.prefix);
  }

  /** Returns the name that the configuration gives to the network of an address; undefined if there is none. */
  nameOf(ip: string): string | undefined {
    const family = familyOf(ip);
    return this.#networks.find(({ list }) => list.check(ip, family))?.name;
  }

  /**
   * Returns the name under which a public address without a named network is grouped; empty if all such addresses share
   * one identity.
   */
  groupOf(ip: string): string {
    switch (this.#by) {
      case 'collapse':
        return '';
      case 'network':
        return ip.includes(':') ? networkOfV6(ip) : `${ip.split('.', 3).join('.')}.0/${PREFIX.v4}`;
      case 'address':
        return ip;
    }
  }
}

function familyOf(ip: string): 'ipv4' | 'ipv6' {
  return ip.includes(':') ? 'ipv6' : 'ipv4';
}

/** Returns the network of an IPv6 address. @param ip address in the form of RFC 5952 */
function networkOfV6(ip: string): string {
  const [head = ''] = ip.split('::', 1);
  const groups = [...head.split(':').filter((group) => group !== ''), '0', '0', '0'].slice(0, PREFIX.v6 / 16);
  return `${parseIp(`${groups.join(':')}::`) ?? ip}/${PREFIX.v6}`;
}
