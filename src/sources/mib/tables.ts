import { mibIpSetting, mibRow, mibTable, mibValues } from '#bpf/generated/common.ts';
import type { Btf } from '../bpf/btf.ts';

/**
 * SNMP tables of a namespace. Fields have the same names as in the kernel's files. In net/snmp and net/netstat, each
 * line starts with the name of the table. In net/snmp6, the name of the table is a prefix of each field.
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
/** Tables that exist only for IPv6, and all other tables. */
export type Mib6Table = Extract<MibTable, `${string}6`>;
export type Mib4Table = Exclude<MibTable, Mib6Table>;

/** File that contains each table. IPv6 tables are in net/snmp6, where the table name is a prefix of each field. */
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

/** Location of a field in the rows of the walk. */
export interface WalkColumn {
  /** Bit of the table in the `tables` member of a row. */
  readonly bit: number;
  /** Byte offset of the value in a row. */
  readonly at: number;
  /** True if the value is a sum over CPUs. */
  readonly perCpu: boolean;
}

type Members = (lastMember: string) => ReadonlyMap<string, number> | undefined;

/** An array in a row, and the fields that it contains. */
interface Part {
  readonly bit: number;
  readonly perCpu: boolean;
  readonly at: number;
  readonly count: number;
  isNumbered(members: Members): boolean;
  indexOf(field: string, members: Members): number | undefined;
}

interface Enumeration {
  /** Name of the enum's last member, by which the enum is found because it is anonymous. */
  readonly lastMember: string;
  readonly prefix: string;
  /** Fields that are named differently in the files and in the enum. Some of them depend on the kernel. */
  readonly aliases: Readonly<Record<string, string | ((members: ReadonlyMap<string, number>) => string | undefined)>>;
}

/**
 * Since 6.8, the kernel counts packets sent by protocols separately from packets passed to a device. Earlier kernels
 * show the same counter under both names.
 */
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

/** Values are message types. Kernel: net/ipv4/proc.c, icmpmibmap. */
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

/**
 * Offsets in the arrays of error messages and of other messages, which start at type 128. Kernel: net/ipv6/proc.c,
 * icmp6type2name.
 */
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

/** Describes an array of per-CPU values whose fields are numbered by an enum in the kernel's BTF. */
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

/** Describes an array whose fields are at the same position on every kernel. `prefix` is prepended to their names. */
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

/** Arrays that contain each table. If several of them contain a field, the first one is used. */
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
  // The enum also has members for message types, but the kernel counts them in a separate array.
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

/** Indices of the MIB fields in the running kernel, derived from its BTF. */
export class MibIndex {
  readonly #members: ReadonlyMap<string, ReadonlyMap<string, number> | undefined>;

  constructor(btf: Pick<Btf, 'enumWithMember'>) {
    this.#members = new Map(ENUMERATIONS.map(({ lastMember }) => [lastMember, btf.enumWithMember(lastMember)]));
  }

  readonly #membersOf: Members = (lastMember) => this.#members.get(lastMember);

  /** Returns the bits of a table's per-CPU arrays; 0 if the fields are not numbered in this kernel's BTF. */
  mask(table: MibTable): number {
    const parts = PARTS[table].filter((part) => part.perCpu && part.isNumbered(this.#membersOf));
    return parts.reduce((mask, { bit }) => mask | (1 << bit), 0);
  }

  /** Returns the location of a field; undefined if this kernel has no such field or it does not fit into a row. */
  column(table: MibTable, field: string): WalkColumn | undefined {
    for (const { bit, perCpu, at, count, indexOf } of PARTS[table]) {
      const index = indexOf(field, this.#membersOf);
      if (index !== undefined) return index < count ? { bit, perCpu, at: at + index * U64_BYTES } : undefined;
    }
    return undefined;
  }
}
