import { mibIpSetting, mibRow, mibTable, mibValues } from '#bpf/generated/common.ts';
import type { Btf } from '../bpf/btf.ts';

/**
 * The SNMP tables of a namespace. A field is named as the kernel's files name it: in net/snmp and net/netstat below the table's name,
 * in net/snmp6 with the table's name in front.
 */
export const MIB_TABLES = [
  'Tcp',
  'TcpExt',
  'Udp',
  'Udp6',
  'UdpLite',
  'UdpLite6',
  'Ip',
  'IpExt',
  'Ip6',
  'Icmp',
  'Icmp6',
] as const;
export type MibTable = (typeof MIB_TABLES)[number];
/** Tables of IPv6 alone, and all others. */
export type Mib6Table = Extract<MibTable, `${string}6`>;
export type Mib4Table = Exclude<MibTable, Mib6Table>;

/** Returns the file that holds a table. Tables of IPv6 are in net/snmp6 with their name in front of each field. */
export const MIB_FILES = {
  Tcp: 'net/snmp',
  Udp: 'net/snmp',
  UdpLite: 'net/snmp',
  Ip: 'net/snmp',
  Icmp: 'net/snmp',
  TcpExt: 'net/netstat',
  IpExt: 'net/netstat',
  Udp6: 'net/snmp6',
  UdpLite6: 'net/snmp6',
  Ip6: 'net/snmp6',
  Icmp6: 'net/snmp6',
} as const satisfies Readonly<Record<MibTable, string>>;

/** Place where the walk finds a field. */
export interface WalkColumn {
  /** Bit of `tables` in a row. */
  readonly bit: number;
  /** Byte offset of the value in a row. */
  readonly at: number;
  /** Whether a row holds a sum over CPUs. */
  readonly perCpu: boolean;
}

type Members = (lastMember: string) => ReadonlyMap<string, number> | undefined;

/** One array of a row, and the fields that are in it. */
interface Part {
  readonly bit: number;
  readonly perCpu: boolean;
  readonly at: number;
  readonly count: number;
  isNumbered(members: Members): boolean;
  indexOf(field: string, members: Members): number | undefined;
}

interface Enumeration {
  /** The enumeration of the fields is the one that has this member. */
  readonly lastMember: string;
  readonly prefix: string;
  /** Fields whose names in the files differ from those of the members; for some this depends on the kernel. */
  readonly aliases: Readonly<Record<string, string | ((members: ReadonlyMap<string, number>) => string | undefined)>>;
}

/** Since 6.8, the packets that protocols send and those that go to a device are counted separately; before, one was shown as the other. */
const hasSentApart = (members: ReadonlyMap<string, number>) => members.has('IPSTATS_MIB_OUTREQUESTS');

/** Kernel: net/ipv4/proc.c, snmp4_net_list. */
const TCP_EXT: Enumeration = {
  lastMember: '__LINUX_MIB_MAX',
  prefix: 'LINUX_MIB_',
  aliases: {
    TW: 'TIMEWAITED',
    TWRecycled: 'TIMEWAITRECYCLED',
    TWKilled: 'TIMEWAITKILLED',
    PAWSActive: 'PAWSACTIVEREJECTED',
    PAWSEstab: 'PAWSESTABREJECTED',
    BeyondWindow: 'BEYOND_WINDOW',
    PAWSOldAck: 'PAWS_OLD_ACK',
    PAWSTimewait: 'PAWS_TW_REJECTED',
    TCPSackShifted: 'SACKSHIFTED',
    TCPSackMerged: 'SACKMERGED',
    TCPSackShiftFallback: 'SACKSHIFTFALLBACK',
    IPReversePathFilter: 'IPRPFILTER',
    TCPSpuriousRtxHostQueues: 'TCPSPURIOUS_RTX_HOSTQUEUES',
  },
};

const TCP: Enumeration = {
  lastMember: '__TCP_MIB_MAX',
  prefix: 'TCP_MIB_',
  aliases: { InCsumErrors: 'CSUMERRORS' },
};

const UDP: Enumeration = {
  lastMember: '__UDP_MIB_MAX',
  prefix: 'UDP_MIB_',
  aliases: { InCsumErrors: 'CSUMERRORS' },
};

/** Kernel: net/ipv4/proc.c, snmp4_ipstats_list and snmp4_ipextstats_list; net/ipv6/proc.c, snmp6_ipstats_list. */
const IP: Enumeration = {
  lastMember: '__IPSTATS_MIB_MAX',
  prefix: 'IPSTATS_MIB_',
  aliases: {
    InReceives: 'INPKTS',
    ForwDatagrams: 'OUTFORWDATAGRAMS',
    OutRequests: (members) => (hasSentApart(members) ? 'OUTREQUESTS' : 'OUTPKTS'),
    OutTransmits: (members) => (hasSentApart(members) ? 'OUTPKTS' : undefined),
    InCsumErrors: 'CSUMERRORS',
    InNoECTPkts: 'NOECTPKTS',
    InECT1Pkts: 'ECT1PKTS',
    InECT0Pkts: 'ECT0PKTS',
    InCEPkts: 'CEPKTS',
    ReasmOverlaps: 'REASM_OVERLAPS',
  },
};

const ICMP_ALIASES = {
  InCsumErrors: 'CSUMERRORS',
  OutRateLimitGlobal: 'RATELIMITGLOBAL',
  OutRateLimitHost: 'RATELIMITHOST',
};
const ICMP: Enumeration = { lastMember: '__ICMP_MIB_MAX', prefix: 'ICMP_MIB_', aliases: ICMP_ALIASES };
const ICMP6: Enumeration = { lastMember: '__ICMP6_MIB_MAX', prefix: 'ICMP6_MIB_', aliases: ICMP_ALIASES };

const IP_SETTINGS = { Forwarding: mibIpSetting.forwarding, DefaultTTL: mibIpSetting.default_ttl };

/** Kernel: net/ipv4/proc.c, icmpmibmap. Indexed by the number of the message type. */
const ICMP_TYPES: Readonly<Record<string, number>> = {
  EchoReps: 0,
  DestUnreachs: 3,
  SrcQuenchs: 4,
  Redirects: 5,
  Echos: 8,
  TimeExcds: 11,
  ParmProbs: 12,
  Timestamps: 13,
  TimestampReps: 14,
  AddrMasks: 17,
  AddrMaskReps: 18,
};

/** Kernel: net/ipv6/proc.c, icmp6type2name. Errors first, then the messages from type 128 on. */
const ICMP6_ERRORS: Readonly<Record<string, number>> = {
  DestUnreachs: 1,
  PktTooBigs: 2,
  TimeExcds: 3,
  ParmProblems: 4,
};
const ICMP6_INFOS: Readonly<Record<string, number>> = {
  Echos: 0,
  EchoReplies: 1,
  GroupMembQueries: 2,
  GroupMembResponses: 3,
  GroupMembReductions: 4,
  RouterSolicits: 5,
  RouterAdvertisements: 6,
  NeighborSolicits: 7,
  NeighborAdvertisements: 8,
  Redirects: 9,
  MLDv2Reports: 15,
};

type Values = keyof (typeof mibValues)['offsets'];

function memberOf({ prefix, aliases }: Enumeration, field: string, members: ReadonlyMap<string, number>) {
  const alias = aliases[field] ?? field.toUpperCase();
  const name = typeof alias === 'string' ? alias : alias(members);
  return name === undefined ? undefined : prefix + name;
}

/** A per-CPU table, whose fields the kernel's BTF numbers. */
function counted(values: Values, enumeration: Enumeration): Part {
  const { lastMember } = enumeration;
  return {
    bit: mibTable[values],
    perCpu: true,
    at: mibRow.offsets.values + mibValues.offsets[values],
    count: mibValues[`${values}Count`],
    isNumbered: (members) => members(lastMember) !== undefined,
    indexOf: (field, membersOf) => {
      const members = membersOf(lastMember);
      const member = members && memberOf(enumeration, field, members);
      return member === undefined ? undefined : members?.get(member);
    },
  };
}

type Once = Extract<keyof (typeof mibRow)['offsets'], `once${string}`>;

/** Parts that have the same place on every kernel; `prefix` is put in front of the names. */
function fixed(
  bit: keyof typeof mibTable,
  once: Once,
  prefix: string,
  indexes: Readonly<Record<string, number>>,
): Part {
  const byField = new Map(Object.entries(indexes).map(([name, index]) => [prefix + name, index]));
  return {
    bit: mibTable[bit],
    perCpu: false,
    at: mibRow.offsets[once],
    count: mibRow[`${once}Count`],
    isNumbered: () => true,
    indexOf: (field) => byField.get(field),
  };
}

/** Parts of a row for each table; the first part that has a field provides it. */
const PARTS: Readonly<Record<MibTable, readonly Part[]>> = {
  Tcp: [counted('tcp', TCP)],
  TcpExt: [counted('tcpext', TCP_EXT)],
  Udp: [counted('udp', UDP)],
  Udp6: [counted('udp6', UDP)],
  UdpLite: [counted('udplite', UDP)],
  UdpLite6: [counted('udplite6', UDP)],
  Ip: [fixed('ip_settings', 'onceIpSettings', '', IP_SETTINGS), counted('ip', IP)],
  IpExt: [counted('ip', IP)],
  Ip6: [counted('ip6', IP)],
  // The enumeration has members for message types too, which no kernel counts.
  Icmp: [
    fixed('icmp_types', 'onceIcmpReceived', 'In', ICMP_TYPES),
    fixed('icmp_types', 'onceIcmpSent', 'Out', ICMP_TYPES),
    counted('icmp', ICMP),
  ],
  Icmp6: [
    fixed('icmp6_types', 'onceIcmp6ErrorsReceived', 'In', ICMP6_ERRORS),
    fixed('icmp6_types', 'onceIcmp6ErrorsSent', 'Out', ICMP6_ERRORS),
    fixed('icmp6_types', 'onceIcmp6InfosReceived', 'In', ICMP6_INFOS),
    fixed('icmp6_types', 'onceIcmp6InfosSent', 'Out', ICMP6_INFOS),
    counted('icmp6', ICMP6),
  ],
};

const ENUMERATIONS = [TCP, TCP_EXT, UDP, IP, ICMP, ICMP6];

const U64_BYTES = 8;

/** The kernel's own numbering of its MIB fields, from its BTF. */
export class MibIndex {
  readonly #members: ReadonlyMap<string, ReadonlyMap<string, number> | undefined>;

  constructor(btf: Pick<Btf, 'enumWithMember'>) {
    this.#members = new Map(ENUMERATIONS.map(({ lastMember }) => [lastMember, btf.enumWithMember(lastMember)]));
  }

  readonly #membersOf: Members = (lastMember) => this.#members.get(lastMember);

  /** Bits of a row that stand for the per-CPU values of a table; none where the kernel does not number its fields. */
  mask(table: MibTable): number {
    const parts = PARTS[table].filter((part) => part.perCpu && part.isNumbered(this.#membersOf));
    return parts.reduce((mask, { bit }) => mask | (1 << bit), 0);
  }

  /** Returns undefined where this kernel has no such field, or more fields than a row has room for. */
  column(table: MibTable, field: string): WalkColumn | undefined {
    for (const { bit, perCpu, at, count, indexOf } of PARTS[table]) {
      const index = indexOf(field, this.#membersOf);
      if (index !== undefined) return index < count ? { bit, perCpu, at: at + index * U64_BYTES } : undefined;
    }
    return undefined;
  }
}
