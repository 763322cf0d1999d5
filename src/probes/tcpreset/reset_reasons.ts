import { resetReason } from '#bpf/generated/tcpreset.ts';
import { type Btf, KIND } from '#sources/bpf/btf.ts';

const PREFIX = 'SK_RST_REASON_';

const NOT_ACCEPTED = 'The listening socket was closed before the connection was accepted.';
/** Text for two causes. In both cases, tcp_rcv_state_process() calls tcp_reset() (kernel: net/ipv4/tcp_input.c). */
const RESET_AFTER_CLOSE =
  'This end had closed the connection. Then the other end reset it or sent more data; the kernel reports both in the same way.';
const AFTER_CLOSE = 'A segment arrived for a connection that was already closed.';
const UNKNOWN_TO_LISTENER =
  'The reset responds to a segment of a connection that the listening socket does not know. The segment is from before the server started, or from a scan.';

/** Explanations of the kernel's reasons (include/net/rstreason.h, 6.10 to 7.x). */
const KERNEL_SENTENCES: Readonly<Record<string, string>> = {
  NOT_SPECIFIED: 'The kernel gives no reason.',
  NO_SOCKET: 'The connection does not exist here. It may have been closed, or this end was restarted.',
  TCP_INVALID_ACK_SEQUENCE: 'The other end acknowledged data that was never sent.',
  TCP_RFC7323_PAWS:
    'The timestamp of the other end is too old, because of NAT that mixes hosts or a very late duplicate.',
  TCP_TOO_OLD_ACK: 'The other end acknowledged data that is too old.',
  TCP_ACK_UNSENT_DATA: 'The other end acknowledged data that was not yet sent.',
  TCP_FLAGS: 'The flags of the segment make no sense here.',
  TCP_OLD_ACK: 'The acknowledgement is old.',
  TCP_ABORT_ON_DATA: 'Data arrived for a connection that was already closed.',
  TCP_TIMEWAIT_SOCKET: 'A segment arrived for a connection that has ended.',
  INVALID_SYN: 'The server could not accept a SYN because its accept queue is full or the connection already exists.',
  TCP_ABORT_ON_CLOSE: 'The process closed the connection without reading all received data.',
  TCP_ABORT_ON_LINGER: 'The other end did not finish in the time that the process allows (TCP_LINGER2).',
  TCP_ABORT_ON_MEMORY: 'The kernel has too many orphaned connections, or no memory for them.',
  TCP_STATE: 'The process ended the connection with a reset (SO_LINGER with a time of zero).',
  TCP_KEEPALIVE_TIMEOUT: 'The other end does not respond to keepalives.',
  TCP_DISCONNECT_WITH_DATA: 'The process disconnected while data was still unsent.',
  MPTCP_RST_EUNSPEC: 'MPTCP reset the subflow.',
  MPTCP_RST_EMPTCP: 'MPTCP reset the subflow because of a protocol error.',
  MPTCP_RST_ERESOURCE: 'MPTCP reset the subflow because it has no resources for it.',
  MPTCP_RST_EPROHIBIT: 'MPTCP reset the subflow because it is not allowed.',
  MPTCP_RST_EWQ2BIG: 'MPTCP reset the subflow because too much data is queued.',
  MPTCP_RST_EBADPERF: 'MPTCP reset the subflow because it is too slow.',
  MPTCP_RST_EMIDDLEBOX: 'MPTCP reset the subflow because a middlebox changes its segments.',
  ERROR: 'The kernel reports an unspecified error.',
};

/** Explanations of the reasons that the BPF program determines itself. */
const OUR_SENTENCES: Readonly<Record<keyof typeof resetReason, string>> = {
  no_listener: 'The connection does not exist here. It may have been closed, or this end was restarted.',
  queue_full: 'The accept queue of the server is full.',
  time_wait: 'A segment arrived for a connection that has ended.',
  after_close: 'Data arrived for a connection that was already closed.',
  invalid_segment: 'The segment does not fit the state of the connection.',
  linger: 'The process ended the connection with a reset (SO_LINGER with a time of zero).',
  not_accepted: NOT_ACCEPTED,
  unread_data: 'The process closed the connection without reading all received data.',
  keepalive: 'The other end does not respond to keepalives.',
  abort: 'The connection was aborted by a timeout, because of a memory shortage, or by an administrator.',
  refused: 'The server refused the connection because no socket listens there, or a firewall responded in its place.',
  broken_pipe: 'The other end has closed the connection and accepts no more data.',
  by_peer: 'The other end reset the connection.',
};

const SENTENCES: Readonly<Record<string, string>> = { ...KERNEL_SENTENCES, ...OUR_SENTENCES };

/**
 * A connection that was reset. The BPF program reads its properties from the socket and from the segment that caused
 * the reset. Amounts of data are in bytes.
 */
export interface ResetScene {
  readonly reason: string;
  /** State of the socket; NONE if there is no socket. */
  readonly state: string;
  readonly isSent: boolean;
  readonly isCutOff: boolean;
  /** Data that was sent or queued but has not been acknowledged. */
  readonly unacknowledged: number;
  /** Received data that was unread when the socket was closed. */
  readonly unread: number;
  /** Data in the segment that caused the reset. */
  readonly refused: number;
  /** Whether the segment that caused the reset was a SYN. */
  readonly answersSyn: boolean;
  /** Whether the connection was still in the accept queue of a listening socket. */
  readonly neverAccepted: boolean;
}

/** Names of the reasons: those of the running kernel, and those that the BPF program determines itself. */
export class ResetReasons {
  readonly #names = new Map<number, string>(Object.entries(resetReason).map(([name, value]) => [value, name]));

  constructor(btf: Btf) {
    const type = btf.find(KIND.enum, 'sk_rst_reason');
    for (const [name, value] of type === undefined ? [] : btf.enumValues(type)) {
      if (!name.endsWith('_MAX')) this.#names.set(value, name.slice(PREFIX.length));
    }
  }

  /**
   * Returns the name of a reason, such as `NO_SOCKET`. Names of reasons that the BPF program determines are in lower
   * case.
   */
  name(reason: number): string {
    return this.#names.get(reason) ?? `UNKNOWN_${reason}`;
  }
}

/**
 * Explains the reset. The explanation depends on the state as well, because the kernel uses the same reason for
 * different causes.
 */
function sentenceOf({ reason, state, answersSyn, neverAccepted, isSent, refused }: ResetScene): string {
  if (answersSyn && state === 'NONE') return 'No socket listens on the port.';
  if (neverAccepted) return NOT_ACCEPTED;
  if (!isSent && state.startsWith('FIN_WAIT')) return RESET_AFTER_CLOSE;
  if (state === 'LISTEN' && (reason === 'TCP_FLAGS' || reason === 'invalid_segment')) return UNKNOWN_TO_LISTENER;
  if (refused === 0 && (reason === 'TCP_ABORT_ON_DATA' || reason === 'after_close')) return AFTER_CLOSE;
  if (isSent && reason === 'TCP_STATE' && state !== 'CLOSE')
    return 'The connection was killed by another process, for example by ss -K.';
  return Object.hasOwn(SENTENCES, reason) ? (SENTENCES[reason] ?? '') : 'This reason is newer than netsonde.';
}

function lossOf({ isCutOff, unacknowledged, unread, refused }: ResetScene): string {
  const lost = [
    unacknowledged > 0 ? `${unacknowledged} sent bytes were not acknowledged` : '',
    unread > 0 ? `${unread} bytes were not read` : '',
    refused > 0 ? `${refused} received bytes were not accepted` : '',
  ].filter((text) => text !== '');
  if (!isCutOff) {
    return lost.length === 0 ? 'No data was lost.' : 'No data was lost except possibly the end of TLS (close_notify).';
  }
  return lost.length === 0 ? '' : `Data was lost: ${lost.join(', ')}.`;
}

/** Returns sentences that explain the reason and what data was lost. */
export function describeReset(scene: ResetScene): string {
  return `${sentenceOf(scene)} ${lossOf(scene)}`.trimEnd();
}
