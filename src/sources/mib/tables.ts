import type { mibValues } from '../../bpf/generated/mib.ts';
import type { Btf } from '../bpf/btf.ts';

/**
 * The SNMP tables of a namespace. A field is named as the kernel's files name it: in net/snmp and net/netstat under the
 * table's name, in net/snmp6 behind it.
 */
export type MibTable = 'Tcp' | 'TcpExt' | 'Udp' | 'Udp6';

interface KernelTable {
  /** Bit of `tables` in a row of the pass; enum mib_table in src/bpf/mib.bpf.c. */
  readonly bit: number;
  readonly values: keyof (typeof mibValues)['offsets'];
  /** The enumeration of the fields is the one with this member. */
  readonly lastMember: string;
  readonly prefix: string;
  /** Fields whose name in the files is not the member's; kernel: net/ipv4/proc.c, snmp4_net_list. */
  readonly aliases: Readonly<Record<string, string>>;
}

const TCP_EXT_ALIASES: Readonly<Record<string, string>> = {
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
};

const UDP_ALIASES: Readonly<Record<string, string>> = { InCsumErrors: 'CSUMERRORS' };

const TABLES: Readonly<Record<MibTable, KernelTable>> = {
  Tcp: {
    bit: 0,
    values: 'tcp',
    lastMember: '__TCP_MIB_MAX',
    prefix: 'TCP_MIB_',
    aliases: { InCsumErrors: 'CSUMERRORS' },
  },
  TcpExt: { bit: 1, values: 'tcpext', lastMember: '__LINUX_MIB_MAX', prefix: 'LINUX_MIB_', aliases: TCP_EXT_ALIASES },
  Udp: { bit: 2, values: 'udp', lastMember: '__UDP_MIB_MAX', prefix: 'UDP_MIB_', aliases: UDP_ALIASES },
  Udp6: { bit: 3, values: 'udp6', lastMember: '__UDP_MIB_MAX', prefix: 'UDP_MIB_', aliases: UDP_ALIASES },
};

/** Where the pass finds a field. */
export interface PassColumn {
  readonly bit: number;
  readonly values: keyof (typeof mibValues)['offsets'];
  readonly index: number;
}

/** The kernel's own numbering of its MIB fields, by its BTF. */
export class MibIndex {
  readonly #members: ReadonlyMap<string, ReadonlyMap<string, number> | undefined>;

  constructor(btf: Btf) {
    const enumerations = new Set(Object.values(TABLES).map(({ lastMember }) => lastMember));
    this.#members = new Map([...enumerations].map((member) => [member, btf.enumWithMember(member)]));
  }

  /** Undefined where this kernel has no such field. */
  column(table: MibTable, field: string): PassColumn | undefined {
    const { bit, values, lastMember, prefix, aliases } = TABLES[table];
    const member = prefix + (aliases[field] ?? field.toUpperCase());
    const index = this.#members.get(lastMember)?.get(member);
    return index === undefined ? undefined : { bit, values, index };
  }
}
