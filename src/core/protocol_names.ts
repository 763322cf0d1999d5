/** Common names of IP protocol numbers (https://www.iana.org/assignments/protocol-numbers). */
const IP_PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  4: 'ipip',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  41: 'ipv6',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  58: 'icmpv6',
  89: 'ospf',
  112: 'vrrp',
  132: 'sctp',
  136: 'udplite',
};

const WITH_PORTS = new Set(['tcp', 'udp', 'udplite', 'sctp', 'dccp']);

const ETHERTYPES: Readonly<Record<number, string>> = {
  2048: 'ipv4',
  2054: 'arp',
  34525: 'ipv6',
  33024: 'vlan',
  35020: 'lldp',
};

export function ipProtocolName(number: number): string {
  return IP_PROTOCOLS[number] ?? `ip-${number}`;
}

export function hasPorts(protocol: string): boolean {
  return WITH_PORTS.has(protocol);
}

export function ethertypeName(number: number): string {
  return ETHERTYPES[number] ?? `ethertype-0x${number.toString(16).padStart(4, '0')}`;
}
