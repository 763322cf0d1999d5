import { tcpState } from '#bpf/generated/common.ts';
import type { Garbled } from '../errors.ts';
import { decodeAttributes, decodeMessages, encodeRequest, length, NLM_F_DUMP } from './message.ts';

/**
 * TCP sockets by SOCK_DIAG_BY_FAMILY (man 7 sock_diag). Kernel: net/ipv4/{inet_diag,tcp_diag}.c;
 * include/uapi/linux/inet_diag.h.
 */

const SOCK_DIAG_BY_FAMILY = 20;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;

/** struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket. */
const REQUEST_BYTES = 56;
const ALL_STATES = (1 << (tcpState.new_syn_recv + 1)) - 1;

/** struct inet_diag_msg: family, state, timer, retransmits, socket (source port first), expiry, both queues, user, inode. */
const MESSAGE_BYTES = 72;
const STATE = 1;
const SOURCE_PORT = 4;
const RECEIVE_QUEUE = 56;
const SEND_QUEUE = 60;

/** Only full sockets have it. */
const INET_DIAG_SHUTDOWN = 8;

export interface InetDiagRow {
  /** The state by its number. */
  readonly state: number;
  readonly port: number;
  /** Bytes; of a listening socket the length and the limit of its accept queue. */
  readonly receiveQueue: number;
  readonly sendQueue: number;
}

/** Asks for the TCP sockets of one family. */
export const TCP_DIAG_REQUESTS = { ipv4: diagRequest(AF_INET), ipv6: diagRequest(AF_INET6) } as const;

function diagRequest(family: number): Uint8Array {
  const payload = new Uint8Array(REQUEST_BYTES);
  payload.set([family, IPPROTO_TCP]);
  new DataView(payload.buffer).setUint32(4, ALL_STATES, true);
  return encodeRequest(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, payload);
}

/**
 * The kernel reports a connection request as SYN_RECV, like the socket that TCP Fast Open makes of one; but it is no full
 * socket, and has no shutdown mask.
 * @returns undefined where a message is cut: rows are added up, so one that is missing would make the sum wrong
 */
export function decodeInetDiag(messages: Uint8Array, garbled: Garbled): InetDiagRow[] | undefined {
  const rows: InetDiagRow[] = [];
  let isWhole = true;
  const refuse = (what: string) => {
    isWhole = false;
    garbled(what);
  };
  for (const { type, payload } of decodeMessages(messages, refuse)) {
    if (type !== SOCK_DIAG_BY_FAMILY) continue;
    if (length(payload) < MESSAGE_BYTES) {
      refuse('a socket whose message is too short');
      continue;
    }
    const { view, start } = payload;
    const state = view.getUint8(start + STATE);
    const isRequest = state === tcpState.syn_recv && !decodeAttributes(payload, MESSAGE_BYTES).has(INET_DIAG_SHUTDOWN);
    rows.push({
      state: isRequest ? tcpState.new_syn_recv : state,
      port: view.getUint16(start + SOURCE_PORT, false),
      receiveQueue: view.getUint32(start + RECEIVE_QUEUE, true),
      sendQueue: view.getUint32(start + SEND_QUEUE, true),
    });
  }
  return isWhole ? rows : undefined;
}
