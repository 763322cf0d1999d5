/**
 * Encodes the request for the packets that the kernel logs to a group of NFLOG, and decodes the trace of iptables-legacy,
 * which it logs to group 0 (kernel: include/uapi/linux/netfilter/nfnetlink_log.h, net/ipv4/netfilter/ip_tables.c).
 */
import { formatEndpoint } from '#core/address.ts';
import { bytesOf, decodeAttributes, decodeMessages, encodeRequest, text } from './message.ts';
import { attribute, concat, GENERIC_BYTES, generic, NLM_F_ACK } from './netfilter.ts';

const SUBSYSTEM = 4;
const MESSAGES = { packet: 0, config: 1 } as const;
const CONFIG = { command: 1, mode: 2, threshold: 5 } as const;
const COMMAND_BIND = 1;
const COPY_PACKET = 2;
const PACKET = { payload: 9, prefix: 10 } as const;
/** Bytes of each packet: the header of IPv4 with options, or that of IPv6, and the ports. */
const HEADER_BYTES = 64;
const IPV6_HEADER_BYTES = 40;

/** A rule, or the policy of a chain, that a packet has met. */
export interface MetRule {
  readonly table: string;
  readonly chain: string;
  /** `rule`, `policy`, or `return` for the end of a chain. */
  readonly kind: string;
  /** Position of the rule in its chain, starting with 1. */
  readonly position: number;
  /** Source of the packet, such as `10.0.0.1:40000`. */
  readonly source: string;
}

/** Encodes the request that binds group 0 to the socket, which receives each packet at once. The group ends with it. */
export function encodeLogGroup(): Uint8Array {
  const mode = new Uint8Array(6);
  new DataView(mode.buffer).setUint32(0, HEADER_BYTES, false);
  mode[4] = COPY_PACKET;
  const config = (...attributes: readonly Uint8Array[]) =>
    encodeRequest((SUBSYSTEM << 8) | MESSAGES.config, NLM_F_ACK, concat([generic(0), ...attributes]));
  return concat([
    config(attribute(CONFIG.command, Uint8Array.of(COMMAND_BIND))),
    config(attribute(CONFIG.mode, mode), attribute(CONFIG.threshold, 1)),
  ]);
}

/** Calls back with each rule that a traced packet has met, in order. */
export function decodeLog(messages: Uint8Array, met: (rule: MetRule) => void): void {
  for (const { type, payload } of decodeMessages(messages, () => undefined)) {
    if (type !== ((SUBSYSTEM << 8) | MESSAGES.packet)) continue;
    const attributes = decodeAttributes(payload, GENERIC_BYTES);
    const packet = attributes.get(PACKET.payload);
    const [, table, chain, kind, position] =
      /^TRACE: ([^:]+):(.+):(rule|return|policy):(\d+) $/.exec(text(attributes.get(PACKET.prefix)) ?? '') ?? [];
    const source = packet && sourceOf(bytesOf(packet));
    if (table === undefined || chain === undefined || kind === undefined || source === undefined) continue;
    met({ table, chain, kind, position: Number(position), source });
  }
}

/** Returns the address and port that an IP packet comes from; undefined if it is too short. */
function sourceOf(packet: Uint8Array): string | undefined {
  const first = packet[0] ?? 0;
  const isV6 = first >> 4 === 6;
  const ports = isV6 ? IPV6_HEADER_BYTES : (first & 0xf) * 4;
  if (packet.length < ports + 2) return undefined;
  const port = ((packet[ports] ?? 0) << 8) | (packet[ports + 1] ?? 0);
  return formatEndpoint(isV6 ? packet.subarray(8, 24) : packet.subarray(12, 16), port);
}
