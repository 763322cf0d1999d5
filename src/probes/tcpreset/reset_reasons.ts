import { resetReason } from '#bpf/generated/tcpreset.ts';
import { type Btf, KIND } from '#sources/bpf/btf.ts';

const PREFIX = 'SK_RST_REASON_';

const NOT_ACCEPTED = 'The listening socket was closed before the connection was accepted.';
/** Kernel: net/ipv4/tcp_input.c, tcp_rcv_state_process() calls tcp_reset() for the latter too. */
const RESET_AFTER_CLOSE =
  'This end had closed; then the other one broke the connection off, or sent data that nobody takes any more: the kernel reports both alike.';
const AFTER_CLOSE = 'A segment came for a connection that was closed already.';
const UNKNOWN_TO_LISTENER =
  'It answers a segment of a connection that the listening socket does not have: from before the server started, or a scan.';

/** The kernel's reasons in plain words (include/net/rstreason.h, 6.10 to 7.x). */
const KERNEL_SENTENCES: Readonly<Record<string, string>> = {
  NOT_SPECIFIED: 'The kernel gives no reason.',
  NO_SOCKET: 'The connection does not exist here, or not any more: it was closed, or this end has started anew.',
  TCP_INVALID_ACK_SEQUENCE: 'The other end acknowledged what was never sent.',
  TCP_RFC7323_PAWS: 'The timestamp of the other end is too old: NAT that mixes hosts, or a very late duplicate.',
  TCP_TOO_OLD_ACK: 'The other end acknowledged what is long past.',
  TCP_ACK_UNSENT_DATA: 'The other end acknowledged data that was not sent yet.',
  TCP_FLAGS: 'The flags of the segment make no sense here.',
  TCP_OLD_ACK: 'The acknowledgement is old.',
  TCP_ABORT_ON_DATA: 'Data came for a connection that was closed already.',
  TCP_TIMEWAIT_SOCKET: 'A segment came for a connection that is over.',
  INVALID_SYN: 'A SYN came that the server could not take: its accept queue is full, or the connection exists.',
  TCP_ABORT_ON_CLOSE: 'The process closed the connection without reading all that had come.',
  TCP_ABORT_ON_LINGER: 'The other end did not finish in the time that the process allows (TCP_LINGER2).',
  TCP_ABORT_ON_MEMORY: 'The kernel has too many orphaned connections, or no memory for them.',
  TCP_STATE: 'The process ended the connection by a reset: SO_LINGER with no time.',
  TCP_KEEPALIVE_TIMEOUT: 'The other end does not answer keepalives.',
  TCP_DISCONNECT_WITH_DATA: 'The process disconnected with data still to be sent.',
  MPTCP_RST_EUNSPEC: 'MPTCP broke the subflow off.',
  MPTCP_RST_EMPTCP: 'MPTCP broke the subflow off: an error of the protocol.',
  MPTCP_RST_ERESOURCE: 'MPTCP broke the subflow off: no resources for it.',
  MPTCP_RST_EPROHIBIT: 'MPTCP broke the subflow off: it is not allowed.',
  MPTCP_RST_EWQ2BIG: 'MPTCP broke the subflow off: too much data waits.',
  MPTCP_RST_EBADPERF: 'MPTCP broke the subflow off: it is too slow.',
  MPTCP_RST_EMIDDLEBOX: 'MPTCP broke the subflow off: something on the way changes its segments.',
  ERROR: 'The kernel met an error that it does not tell apart.',
};

/** Those that the program derives. */
const OUR_SENTENCES: Readonly<Record<keyof typeof resetReason, string>> = {
  no_listener: 'The connection does not exist here, or not any more: it was closed, or this end has started anew.',
  queue_full: 'The accept queue of the server is full.',
  time_wait: 'A segment came for a connection that is over.',
  after_close: 'Data came for a connection that was closed already.',
  invalid_segment: 'The segment does not fit the state of the connection.',
  linger: 'The process ended the connection by a reset: SO_LINGER with no time.',
  not_accepted: NOT_ACCEPTED,
  unread_data: 'The process closed the connection without reading all that had come.',
  keepalive: 'The other end does not answer keepalives.',
  abort: 'The connection was aborted: a timeout, no memory, or by an administrator.',
  refused: 'The server refused the connection: nobody listens there, or a firewall answers for it.',
  broken_pipe: 'The other end has closed, and takes no more.',
  by_peer: 'The other end broke the connection off.',
};

const SENTENCES: Readonly<Record<string, string>> = { ...KERNEL_SENTENCES, ...OUR_SENTENCES };

/** What a reset ended, as the program reads it from the socket and from the segment that is answered. Bytes of data. */
export interface ResetScene {
  readonly reason: string;
  /** NONE without a socket. */
  readonly state: string;
  readonly isSent: boolean;
  readonly isCutOff: boolean;
  /** Sent, or to be sent, and not confirmed. */
  readonly unacknowledged: number;
  /** Received, and closed over. */
  readonly unread: number;
  /** Of the segment that is answered. */
  readonly refused: number;
  /** The answered segment opens a connection. */
  readonly answersSyn: boolean;
  /** The connection waited in the queue of a listening socket. */
  readonly neverAccepted: boolean;
}

/** Names of the reasons of the running kernel, and of those that the program derives. */
export class ResetReasons {
  readonly #names = new Map<number, string>(Object.entries(resetReason).map(([name, value]) => [value, name]));

  constructor(btf: Btf) {
    const type = btf.find(KIND.enum, 'sk_rst_reason');
    for (const [name, value] of type === undefined ? [] : btf.enumValues(type)) {
      if (!name.endsWith('_MAX')) this.#names.set(value, name.slice(PREFIX.length));
    }
  }

  /** `NO_SOCKET`; ours are in lower case. */
  name(reason: number): string {
    return this.#names.get(reason) ?? `UNKNOWN_${reason}`;
  }
}

/** What is true of this reset: the same reason is given for different things. */
function sentenceOf({ reason, state, answersSyn, neverAccepted, isSent, refused }: ResetScene): string {
  if (answersSyn && state === 'NONE') return 'Nobody listens on the port.';
  if (neverAccepted) return NOT_ACCEPTED;
  if (!isSent && state.startsWith('FIN_WAIT')) return RESET_AFTER_CLOSE;
  if (state === 'LISTEN' && (reason === 'TCP_FLAGS' || reason === 'invalid_segment')) return UNKNOWN_TO_LISTENER;
  if (refused === 0 && (reason === 'TCP_ABORT_ON_DATA' || reason === 'after_close')) return AFTER_CLOSE;
  if (isSent && reason === 'TCP_STATE' && state !== 'CLOSE')
    return 'The connection was killed from outside, as by ss -K.';
  return Object.hasOwn(SENTENCES, reason) ? (SENTENCES[reason] ?? '') : 'This reason is newer than netsonde.';
}

function lossOf({ isCutOff, unacknowledged, unread, refused }: ResetScene): string {
  const lost = [
    unacknowledged > 0 ? `${unacknowledged} bytes to the other end are not confirmed` : '',
    unread > 0 ? `${unread} bytes were not read` : '',
    refused > 0 ? `${refused} bytes came that nobody takes` : '',
  ].filter((text) => text !== '');
  if (!isCutOff) {
    return lost.length === 0
      ? 'No data is lost by it.'
      : 'At most the end of TLS (close_notify) is lost by it, no data.';
  }
  return lost.length === 0 ? '' : `Cut off: ${lost.join(', ')}.`;
}

/** Why, and what was lost by it, in sentences. */
export function describeReset(scene: ResetScene): string {
  return `${sentenceOf(scene)} ${lossOf(scene)}`.trimEnd();
}
