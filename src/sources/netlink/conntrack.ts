import { ipProtocolName } from '#core/protocol_names.ts';
import type { Malformed } from '../errors.ts';
import {
  decodeAttributes,
  decodeMessages,
  decodeObjects,
  encodeRequest,
  type Message,
  NLM_F_DUMP,
  type Span,
  u8,
  u32be,
} from './message.ts';

/**
 * Reads connection tracking statistics with ctnetlink, a part of nfnetlink. Kernel:
 * net/netfilter/nf_conntrack_netlink.c;
 * include/uapi/linux/netfilter/{nfnetlink,nfnetlink_conntrack,nf_conntrack_tcp,nf_conntrack_common}.h. Numbers in
 * attributes are big-endian.
 */

const NFNL_SUBSYS_CTNETLINK = 1 << 8;
const IPCTNL_MSG_CT_NEW = NFNL_SUBSYS_CTNETLINK | 0;
const IPCTNL_MSG_CT_GET = NFNL_SUBSYS_CTNETLINK | 1;
const IPCTNL_MSG_CT_GET_STATS_CPU = NFNL_SUBSYS_CTNETLINK | 4;
const IPCTNL_MSG_CT_GET_STATS = NFNL_SUBSYS_CTNETLINK | 5;

/** struct nfgenmsg: family, version, resource id. */
const NFGENMSG_BYTES = 4;

/** enum ctattr_stats_cpu. */
const CPU_ATTRIBUTES = {
  found: 2,
  invalid: 4,
  insert: 8,
  insertFailed: 9,
  drop: 10,
  earlyDrop: 11,
  error: 12,
  searchRestart: 13,
  clashResolve: 14,
  chainTooLong: 15,
} as const;

export type ConntrackCounter = keyof typeof CPU_ATTRIBUTES;
export const CONNTRACK_COUNTERS = Object.keys(CPU_ATTRIBUTES) as readonly ConntrackCounter[];

/** Counters of one namespace, summed over the CPUs. Counters that the kernel does not support are missing. */
export type ConntrackCounters = Readonly<Partial<Record<ConntrackCounter, number>>>;

const CTA_STATS_GLOBAL_ENTRIES = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES = 2;

const CTA_TUPLE_ORIG = 1;
const CTA_STATUS = 3;
const CTA_PROTOINFO = 4;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;

const IPS_SEEN_REPLY = 1 << 1;
const IPS_ASSURED = 1 << 2;

/** States of enum tcp_conntrack in order, with the names that conntrack(8) prints. */
export const TCP_STATES = [
  'none',
  'syn_sent',
  'syn_recv',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
  'time_wait',
  'close',
  'syn_sent2',
] as const;

/** States of entries without a TCP state. conntrack(8) prints [UNREPLIED], nothing, or [ASSURED] for them. */
export const OTHER_STATES = ['unreplied', 'replied', 'assured'] as const;

export type ConntrackState = (typeof TCP_STATES)[number] | (typeof OTHER_STATES)[number];

export const PROTOCOLS = ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'gre', 'other'] as const;
export type ConntrackProtocol = (typeof PROTOCOLS)[number];

const header = new Uint8Array(NFGENMSG_BYTES);
export const CPU_STATS_REQUEST = encodeRequest(IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP, header);
export const GLOBAL_STATS_REQUEST = encodeRequest(IPCTNL_MSG_CT_GET_STATS, 0, header);
export const TABLE_REQUEST = encodeRequest(IPCTNL_MSG_CT_GET, NLM_F_DUMP, header);

/**
 * Returns the counters summed over all CPUs; undefined if a message is truncated or malformed, because an incomplete
 * sum would look like a counter reset.
 */
export function decodeCpuStats(messages: Uint8Array, malformed: Malformed): ConntrackCounters | undefined {
  const sums: Partial<Record<ConntrackCounter, number>> = {};
  let end = 0;
  for (const { type, payload } of decodeMessages(messages, malformed)) {
    if (type !== IPCTNL_MSG_CT_GET_STATS_CPU || !addShare(sums, payload)) {
      malformed('the counters of a CPU');
      return undefined;
    }
    end = payload.end;
  }
  if (messages.length === 0) malformed('an answer without any CPU');
  return end > 0 && end === messages.length ? sums : undefined;
}

/** Adds one CPU's counters; returns false if they are incomplete. */
function addShare(sums: Partial<Record<ConntrackCounter, number>>, payload: Span): boolean {
  const attributes = decodeAttributes(payload, NFGENMSG_BYTES);
  if ([...attributes.values()].at(-1)?.end !== payload.end) return false;
  for (const name of CONNTRACK_COUNTERS) {
    const attribute = attributes.get(CPU_ATTRIBUTES[name]);
    if (attribute === undefined) continue;
    const value = u32be(attribute);
    if (value === undefined) return false;
    sums[name] = (sums[name] ?? 0) + value;
  }
  return true;
}

export interface GlobalStats {
  readonly entries: number;
  /** net.netfilter.nf_conntrack_max; undefined if the kernel does not report it (before 4.18). */
  readonly limit: number | undefined;
}

export function decodeGlobalStats(messages: Uint8Array, malformed: Malformed): GlobalStats | undefined {
  for (const { attributes } of decodeObjects(messages, IPCTNL_MSG_CT_GET_STATS, NFGENMSG_BYTES, malformed)) {
    const entries = u32be(attributes.get(CTA_STATS_GLOBAL_ENTRIES));
    if (entries !== undefined) return { entries, limit: u32be(attributes.get(CTA_STATS_GLOBAL_MAX_ENTRIES)) };
  }
  malformed('an answer without the number of entries');
  return undefined;
}

export interface TableEntry {
  readonly protocol: ConntrackProtocol;
  readonly state: ConntrackState;
}

/** Decodes one table entry; returns undefined if the message is truncated or not an entry. */
export function decodeEntry({ type, payload }: Message): TableEntry | undefined {
  if (type !== IPCTNL_MSG_CT_NEW) return undefined;
  const attributes = decodeAttributes(payload, NFGENMSG_BYTES);
  const tuple = decodeAttributes(attributes.get(CTA_TUPLE_ORIG));
  const number = u8(decodeAttributes(tuple.get(CTA_TUPLE_PROTO)).get(CTA_PROTO_NUM));
  const status = u32be(attributes.get(CTA_STATUS));
  if (number === undefined || status === undefined) return undefined;
  const protocol = protocolOf(number);
  const info = attributes.get(CTA_PROTOINFO);
  if (protocol === 'tcp' && info !== undefined) {
    const tcp = decodeAttributes(decodeAttributes(info).get(CTA_PROTOINFO_TCP));
    const state = TCP_STATES[u8(tcp.get(CTA_PROTOINFO_TCP_STATE)) ?? -1];
    return state && { protocol, state };
  }
  return { protocol, state: stateOf(status) };
}

function protocolOf(number: number): ConntrackProtocol {
  const name = ipProtocolName(number);
  return PROTOCOLS.find((protocol) => protocol === name) ?? 'other';
}

function stateOf(status: number): ConntrackState {
  if ((status & IPS_SEEN_REPLY) === 0) return 'unreplied';
  return (status & IPS_ASSURED) === 0 ? 'replied' : 'assured';
}
