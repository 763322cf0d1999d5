import type { Malformed } from '../errors.ts';
import {
  decodeAttributes,
  decodeObjects,
  encodeRequest,
  length,
  type Span,
  bytesOf as spanBytes,
  u8,
} from './message.ts';

/**
 * Looks up a connection with ctnetlink. Kernel: net/netfilter/nf_conntrack_netlink.c, ctnetlink_get_conntrack();
 * include/uapi/linux/netfilter/nfnetlink_conntrack.h. Numbers in attributes are big-endian.
 */

const NFNL_SUBSYS_CTNETLINK = 1 << 8;
const IPCTNL_MSG_CT_NEW = NFNL_SUBSYS_CTNETLINK | 0;
const IPCTNL_MSG_CT_GET = NFNL_SUBSYS_CTNETLINK | 1;
const NFGENMSG_BYTES = 4;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_PROTOINFO = 4;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_SRC = { 4: 1, 16: 3 } as const;
const CTA_IP_DST = { 4: 2, 16: 4 } as const;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;

/** Addresses of the packets that a socket sends. An address has 4 or 16 bytes. */
export interface ConnectionTuple {
  readonly local: Uint8Array;
  readonly localPort: number;
  readonly peer: Uint8Array;
  readonly peerPort: number;
}

/** A connection in the table of connection tracking. */
export interface TrackedConnection {
  /** Whether the socket's packets are replies, so that the other end opened the connection. */
  readonly isReply: boolean;
  /** Source of the packets that the other end sends, before any translation: 4 or 16 bytes. */
  readonly other: Uint8Array;
  /** Number of enum tcp_conntrack (kernel: include/uapi/linux/netfilter/nf_conntrack_tcp.h). */
  readonly state: number;
}

function attribute(type: number, ...values: readonly Uint8Array[]): Uint8Array {
  const size = values.reduce((sum, value) => sum + value.length, 4);
  const bytes = new Uint8Array((size + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, size, true);
  view.setUint16(2, type, true);
  let at = 4;
  for (const value of values) {
    bytes.set(value, at);
    at += value.length;
  }
  return bytes;
}

function port(number: number): Uint8Array {
  return Uint8Array.of(number >> 8, number & 0xff);
}

function sizeOf(address: Uint8Array): 4 | 16 {
  return address.length === 4 ? 4 : 16;
}

export function encodeLookup({ local, localPort, peer, peerPort }: ConnectionTuple): Uint8Array {
  const size = sizeOf(local);
  const tuple = attribute(
    CTA_TUPLE_ORIG,
    attribute(CTA_TUPLE_IP, attribute(CTA_IP_SRC[size], local), attribute(CTA_IP_DST[size], peer)),
    attribute(
      CTA_TUPLE_PROTO,
      attribute(CTA_PROTO_NUM, Uint8Array.of(IPPROTO_TCP)),
      attribute(CTA_PROTO_SRC_PORT, port(localPort)),
      attribute(CTA_PROTO_DST_PORT, port(peerPort)),
    ),
  );
  const payload = new Uint8Array(NFGENMSG_BYTES + tuple.length);
  payload[0] = size === 4 ? AF_INET : AF_INET6;
  payload.set(tuple, NFGENMSG_BYTES);
  return encodeRequest(IPCTNL_MSG_CT_GET, 0, payload);
}

/** Decodes the entry that the kernel found for a tuple. Returns undefined if the answer is malformed. */
export function decodeLookup(
  messages: Uint8Array,
  asked: ConnectionTuple,
  malformed: Malformed,
): TrackedConnection | undefined {
  for (const { attributes } of decodeObjects(messages, IPCTNL_MSG_CT_NEW, NFGENMSG_BYTES, malformed)) {
    const original = attributes.get(CTA_TUPLE_ORIG);
    const isReply = !isTuple(original, asked);
    const other = sourceOf(isReply ? original : attributes.get(CTA_TUPLE_REPLY));
    const tcp = decodeAttributes(decodeAttributes(attributes.get(CTA_PROTOINFO)).get(CTA_PROTOINFO_TCP));
    const state = u8(tcp.get(CTA_PROTOINFO_TCP_STATE));
    if (other !== undefined && state !== undefined) return { isReply, other, state };
  }
  malformed('an entry without addresses or state');
  return undefined;
}

function isTuple(tuple: Span | undefined, { local, localPort, peer, peerPort }: ConnectionTuple): boolean {
  const attributes = decodeAttributes(tuple);
  const ip = decodeAttributes(attributes.get(CTA_TUPLE_IP));
  const proto = decodeAttributes(attributes.get(CTA_TUPLE_PROTO));
  const size = sizeOf(local);
  return (
    isEqual(ip.get(CTA_IP_SRC[size]), local) &&
    isEqual(ip.get(CTA_IP_DST[size]), peer) &&
    isEqual(proto.get(CTA_PROTO_SRC_PORT), port(localPort)) &&
    isEqual(proto.get(CTA_PROTO_DST_PORT), port(peerPort))
  );
}

function isEqual(span: Span | undefined, bytes: Uint8Array): boolean {
  if (span === undefined || length(span) !== bytes.length) return false;
  return spanBytes(span).every((byte, index) => byte === bytes[index]);
}

function sourceOf(tuple: Span | undefined): Uint8Array | undefined {
  const ip = decodeAttributes(decodeAttributes(tuple).get(CTA_TUPLE_IP));
  const source = ip.get(CTA_IP_SRC[4]) ?? ip.get(CTA_IP_SRC[16]);
  return source && spanBytes(source);
}
