import { tcpState } from '#bpf/generated/common.ts';
import { formatIp } from '#core/address.ts';
import type { Malformed } from '../errors.ts';
import { decodeAttributes, decodeMessages, encodeRequest, length, NLM_F_DUMP, type Span, u32 } from './message.ts';

/**
 * Reads TCP sockets with SOCK_DIAG_BY_FAMILY (man 7 sock_diag). Kernel: net/ipv4/{inet_diag,tcp_diag}.c;
 * include/uapi/linux/inet_diag.h.
 */

const SOCK_DIAG_BY_FAMILY = 20;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;

/** struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket. */
const REQUEST_BYTES = 56;
const ALL_STATES = (1 << (tcpState.new_syn_recv + 1)) - 1;

/**
 * struct inet_diag_msg: family, state, timer, retransmits, socket (starting with the source port), expiry, receive
 * queue, send queue, user, inode.
 */
const MESSAGE_BYTES = 72;
const STATE = 1;
const SOURCE_PORT = 4;
const RECEIVE_QUEUE = 56;
const SEND_QUEUE = 60;

/** INET_DIAG_SHUTDOWN, an attribute that only full sockets have. */
const INET_DIAG_SHUTDOWN = 8;
/** Attribute with an array of u32. The ninth element is sk_drops (include/uapi/linux/sock_diag.h, SK_MEMINFO_DROPS). */
const INET_DIAG_SKMEMINFO = 7;
const SK_MEMINFO_DROPS = 8 * 4;
const SOURCE = 8;
const COOKIE = 44;

export interface InetDiagRow {
  /** The kernel's number for the state. */
  readonly state: number;
  readonly port: number;
  /** Bytes in the receive and send queues. For a listening socket, the length and limit of its accept queue. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
}

/** Requests for all TCP sockets, by address family. */
export const TCP_DIAG_REQUESTS = { ipv4: diagRequest(AF_INET), ipv6: diagRequest(AF_INET6) } as const;

/** Requests for all listening sockets, including their drop counters, by address family. */
export const LISTENER_REQUESTS = {
  ipv4: diagRequest(AF_INET, 1 << tcpState.listen, 1 << (INET_DIAG_SKMEMINFO - 1)),
  ipv6: diagRequest(AF_INET6, 1 << tcpState.listen, 1 << (INET_DIAG_SKMEMINFO - 1)),
} as const;

function diagRequest(family: number, states = ALL_STATES, extensions = 0): Uint8Array {
  const payload = new Uint8Array(REQUEST_BYTES);
  payload.set([family, IPPROTO_TCP, extensions]);
  new DataView(payload.buffer).setUint32(4, states, true);
  return encodeRequest(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, payload);
}

/**
 * Decodes the sockets in a response. The kernel reports connection requests as SYN_RECV, which is also the state of the
 * sockets that TCP Fast Open creates for such requests. Requests are not full sockets, so they are recognized by the
 * missing shutdown mask.
 * @returns undefined if a message is truncated, because the sums would be wrong if a row were missing
 */
export function decodeInetDiag(messages: Uint8Array, malformed: Malformed): InetDiagRow[] | undefined {
  const rows: InetDiagRow[] = [];
  let isWhole = true;
  const refuse = (what: string) => {
    isWhole = false;
    malformed(what);
  };
  visitSockets(messages, refuse, (payload) => {
    const row = rowOf(payload);
    const isRequest =
      row.state === tcpState.syn_recv && !decodeAttributes(payload, MESSAGE_BYTES).has(INET_DIAG_SHUTDOWN);
    rows.push(isRequest ? { ...row, state: tcpState.new_syn_recv } : row);
  });
  return isWhole ? rows : undefined;
}

/** A listening socket. */
export interface ListenerRow extends InetDiagRow {
  readonly address: string;
  /** Cookie that identifies the socket. The kernel never reuses it. */
  readonly cookie: bigint;
  readonly drops: number;
}

/** Returns the listening sockets with drops. Skips messages that are truncated or contain no drop counter. */
export function decodeListeners(messages: Uint8Array, malformed: Malformed): ListenerRow[] {
  const rows: ListenerRow[] = [];
  visitSockets(messages, malformed, (payload) => {
    const { view, start } = payload;
    const drops = u32(decodeAttributes(payload, MESSAGE_BYTES).get(INET_DIAG_SKMEMINFO), SK_MEMINFO_DROPS) ?? 0;
    if (drops === 0) return;
    const bytes = view.getUint8(start) === AF_INET ? 4 : 16;
    rows.push({
      ...rowOf(payload),
      address: formatIp(new Uint8Array(view.buffer, view.byteOffset + start + SOURCE, bytes)),
      cookie: view.getBigUint64(start + COOKIE, true),
      drops,
    });
  });
  return rows;
}

/** Calls `visit` for each socket. Skips messages that are too short for a struct inet_diag_msg. */
function visitSockets(messages: Uint8Array, malformed: Malformed, visit: (payload: Span) => void): void {
  for (const { type, payload } of decodeMessages(messages, malformed)) {
    if (type !== SOCK_DIAG_BY_FAMILY) continue;
    if (length(payload) < MESSAGE_BYTES) malformed('a socket whose message is too short');
    else visit(payload);
  }
}

function rowOf({ view, start }: Span): InetDiagRow {
  return {
    state: view.getUint8(start + STATE),
    port: view.getUint16(start + SOURCE_PORT, false),
    receiveQueue: view.getUint32(start + RECEIVE_QUEUE, true),
    sendQueue: view.getUint32(start + SEND_QUEUE, true),
  };
}
