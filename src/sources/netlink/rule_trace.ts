/**
 * Encodes a table of nftables that traces the packets of one connection, and decodes the trace (kernel:
 * include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_trace.c).
 */
import { readIpWords } from '#core/address.ts';
import {
  bytesOf,
  decodeAttributes,
  decodeMessages,
  encodeRequest,
  NLM_F_DUMP,
  type Span,
  text,
  u8,
  u32be,
} from './message.ts';
import { attribute, concat, GENERIC_BYTES, generic, NLM_F_ACK, NLMSG_ERROR, nested } from './netfilter.ts';

const SUBSYSTEM = 10;
const BATCH = { begin: 16, end: 17 } as const;
const MESSAGES = { newTable: 0, newChain: 3, newRule: 6, getRule: 7, trace: 17 } as const;
const NLM_F_CREATE = 0x400;
const NLM_F_APPEND = 0x800;

/** Number of the multicast group with traces (NFNLGRP_NFTRACE). */
export const TRACE_GROUP = 9;

const FAMILIES: Readonly<Record<number, string>> = {
  1: 'inet',
  2: 'ip',
  3: 'arp',
  5: 'netdev',
  7: 'bridge',
  10: 'ip6',
};
const INET = 1;
const IPV4 = 2;
const IPV6 = 10;
/** The kernel removes a table with this flag when the socket that has created it is closed (since 5.12). */
const TABLE_OWNER = 2;
const HOOKS = { prerouting: 0, output: 3 } as const;
/** Before every other chain, but after defragmentation (NF_IP_PRI_CONNTRACK_DEFRAG). */
const PRIORITY = -350;
const META = { trace: 12, family: 15, protocol: 16 } as const;
const BASES = { network: 1, transport: 2 } as const;
const REGISTER = 1;
const TRACE_TYPES = { policy: 1, rule: 3 } as const;
const NF_DROP = 0;

const PROTOCOLS = { tcp: 6, udp: 17 } as const;

/** The connection whose packets are traced, in both directions. */
export interface TracedConnection {
  readonly protocol: keyof typeof PROTOCOLS;
  /** Address and port of the client. */
  readonly ip: string;
  readonly port: number;
}

/** A rule, or the policy of a chain, that has dropped a packet. */
export interface DroppingRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Undefined for the policy of the chain. */
  readonly handle: bigint | undefined;
}

function addressBytes(ip: string): Uint8Array {
  const words = new Uint32Array(4);
  readIpWords(ip, words);
  const view = new DataView(new ArrayBuffer(16));
  for (const [index, word] of words.entries()) view.setUint32(4 * index, word, false);
  return new Uint8Array(view.buffer, ip.includes(':') ? 0 : 12);
}

function message(type: number, flags: number, ...attributes: readonly Uint8Array[]): Uint8Array {
  return encodeRequest((SUBSYSTEM << 8) | type, flags, concat([generic(INET), ...attributes]));
}

function expression(name: string, ...data: readonly Uint8Array[]): Uint8Array {
  return nested(1, attribute(1, name), nested(2, ...data));
}

function loadMeta(key: number): Uint8Array {
  return expression('meta', attribute(1, REGISTER), attribute(2, key));
}

function loadPayload(base: number, offset: number, length: number): Uint8Array {
  return expression('payload', attribute(1, REGISTER), attribute(2, base), attribute(3, offset), attribute(4, length));
}

function equals(value: Uint8Array): Uint8Array {
  return expression('cmp', attribute(1, REGISTER), attribute(2, 0), nested(3, attribute(1, value)));
}

/** Expressions that match one direction of a connection, and mark its packets for the trace. */
function traceExpressions({ protocol, ip, port }: TracedConnection, isSource: boolean): Uint8Array[] {
  const address = addressBytes(ip);
  const isV6 = address.length > 4;
  const at = isV6 ? { source: 8, target: 24 } : { source: 12, target: 16 };
  return [
    loadMeta(META.family),
    equals(Uint8Array.of(isV6 ? IPV6 : IPV4)),
    loadMeta(META.protocol),
    equals(Uint8Array.of(PROTOCOLS[protocol])),
    loadPayload(BASES.network, isSource ? at.source : at.target, address.length),
    equals(address),
    loadPayload(BASES.transport, isSource ? 0 : 2, 2),
    equals(Uint8Array.of(port >> 8, port & 0xff)),
    expression('immediate', attribute(1, REGISTER), nested(2, attribute(1, Uint8Array.of(1)))),
    expression('meta', attribute(2, META.trace), attribute(3, REGISTER)),
  ];
}

/** Encodes the request that creates a table of this name, which belongs to the socket and traces the connection. */
export function encodeTraceTable(name: string, connection: TracedConnection): Uint8Array {
  const parts = [message(MESSAGES.newTable, NLM_F_CREATE | NLM_F_ACK, attribute(1, name), attribute(2, TABLE_OWNER))];
  for (const [chain, hook] of Object.entries(HOOKS)) {
    const place = nested(4, attribute(1, hook), attribute(2, PRIORITY));
    parts.push(
      message(
        MESSAGES.newChain,
        NLM_F_CREATE | NLM_F_ACK,
        attribute(1, name),
        attribute(3, chain),
        place,
        attribute(7, 'filter'),
      ),
    );
    for (const isSource of [true, false]) {
      const rule = nested(4, ...traceExpressions(connection, isSource));
      parts.push(
        message(
          MESSAGES.newRule,
          NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK,
          attribute(1, name),
          attribute(2, chain),
          rule,
        ),
      );
    }
  }
  const edge = (type: number) => encodeRequest(type, 0, generic(0, SUBSYSTEM));
  return concat([edge(BATCH.begin), ...parts, edge(BATCH.end)]);
}

/** Calls back with each answer of the kernel (errno; 0 for success), and each drop in a trace. */
export function decodeTrace(
  messages: Uint8Array,
  told: { readonly answered: (errno: number) => void; readonly dropped: (rule: DroppingRule) => void },
): void {
  for (const { type, payload } of decodeMessages(messages, () => undefined)) {
    if (type === NLMSG_ERROR) told.answered(-payload.view.getInt32(payload.start, true));
    const rule = type === ((SUBSYSTEM << 8) | MESSAGES.trace) ? decodeDrop(payload) : undefined;
    if (rule !== undefined) told.dropped(rule);
  }
}

/** Returns the rule or policy of a trace message; undefined if it does not drop the packet. */
function decodeDrop(payload: Span): DroppingRule | undefined {
  const attributes = decodeAttributes(payload, GENERIC_BYTES);
  const isRule = u32be(attributes.get(4)) === TRACE_TYPES.rule;
  const isPolicy = u32be(attributes.get(4)) === TRACE_TYPES.policy;
  const verdict = isRule ? u32be(decodeAttributes(attributes.get(5)).get(1)) : u32be(attributes.get(16));
  if (!(isRule || isPolicy) || verdict !== NF_DROP) return undefined;
  const handle = attributes.get(3);
  return {
    family: FAMILIES[u8(payload) ?? 0] ?? '?',
    table: text(attributes.get(1)) ?? '?',
    chain: text(attributes.get(2)) ?? '?',
    handle: isRule && handle !== undefined ? handle.view.getBigUint64(handle.start, false) : undefined,
  };
}

/** Encodes a request for the rules of a chain. */
export function encodeRules({ family, table, chain }: DroppingRule): Uint8Array {
  const number = Number(Object.keys(FAMILIES).find((key) => FAMILIES[Number(key)] === family) ?? INET);
  const payload = concat([generic(number), attribute(1, table), attribute(2, chain)]);
  return encodeRequest((SUBSYSTEM << 8) | MESSAGES.getRule, NLM_F_DUMP, payload);
}

/** Position of a rule in its chain, starting with 1, and its comment. */
export interface RulePlace {
  readonly position: number;
  readonly comment: string | undefined;
}

/** Finds a rule among the rules of its chain. */
export function decodeRules(messages: Uint8Array, { chain, handle }: DroppingRule): RulePlace | undefined {
  let position = 0;
  for (const { type, payload } of decodeMessages(messages, () => undefined)) {
    if (type !== ((SUBSYSTEM << 8) | MESSAGES.newRule)) continue;
    const attributes = decodeAttributes(payload, GENERIC_BYTES);
    // Kernels before 4.18 return the rules of all chains.
    if (text(attributes.get(2)) !== chain) continue;
    position++;
    const own = attributes.get(3);
    if (own?.view.getBigUint64(own.start, false) !== handle) continue;
    const data = attributes.get(7);
    return { position, comment: data === undefined ? undefined : commentIn(bytesOf(data)) };
  }
  return undefined;
}

/** Returns the comment in the user data of a rule: a type, a length, and the text with a NUL (libnftnl, udata.h). */
function commentIn(data: Uint8Array): string | undefined {
  const [type, length = 0] = data;
  return type === 0 && length > 1 ? Buffer.from(data.subarray(2, 1 + length)).toString() : undefined;
}
