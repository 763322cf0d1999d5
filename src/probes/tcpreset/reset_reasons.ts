import { resetReason } from '#bpf/generated/tcpreset.ts';
import { type Btf, KIND } from '#sources/bpf/btf.ts';

const PREFIX = 'SK_RST_REASON_';

/** The kernel's reasons in plain words (include/net/rstreason.h, 6.10 to 7.x). */
const KERNEL_SENTENCES: Readonly<Record<string, string>> = {
  NOT_SPECIFIED: 'The kernel gives no reason.',
  NO_SOCKET: 'Nobody listens on the port, or the connection does not exist any more.',
  TCP_INVALID_ACK_SEQUENCE: 'The other end acknowledged what was never sent.',
  TCP_RFC7323_PAWS: 'The timestamp of the other end is too old: NAT that mixes hosts, or a very late duplicate.',
  TCP_TOO_OLD_ACK: 'The other end acknowledged what is long past.',
  TCP_ACK_UNSENT_DATA: 'The other end acknowledged data that was not sent yet.',
  TCP_FLAGS: 'The flags of the segment make no sense here, as an ACK to a listening port.',
  TCP_OLD_ACK: 'The acknowledgement is old.',
  TCP_ABORT_ON_DATA: 'Data came for a connection that was closed already.',
  TCP_TIMEWAIT_SOCKET: 'A segment came for a connection that is over.',
  INVALID_SYN: 'A SYN came that the server could not take: its accept queue is full, or the connection exists.',
  TCP_ABORT_ON_CLOSE: 'The process closed the connection without reading all that had come.',
  TCP_ABORT_ON_LINGER: 'The other end did not finish in the time that the process allows (TCP_LINGER2).',
  TCP_ABORT_ON_MEMORY: 'The kernel has too many orphaned connections, or no memory for them.',
  TCP_STATE:
    'The process broke the connection off: SO_LINGER with no time, or a listening socket closed over waiting connections.',
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
  no_listener: 'Nobody listens on the port, or the connection does not exist any more.',
  queue_full: 'The accept queue of the server is full.',
  time_wait: 'A segment came for a connection that is over.',
  after_close: 'Data came for a connection that was closed already.',
  invalid_segment: 'The segment does not fit the state of the connection.',
  linger: 'The process broke the connection off: SO_LINGER with no time.',
  not_accepted: 'The listening socket was closed before the connection was accepted.',
  unread_data: 'The process closed the connection without reading all that had come.',
  keepalive: 'The other end does not answer keepalives.',
  abort: 'The connection was aborted: a timeout, no memory, or by an administrator.',
  refused: 'The server refused the connection: nobody listens there, or a firewall answers for it.',
  broken_pipe: 'The other end is gone, and does not want what is still sent.',
  by_peer: 'The other end broke the connection off.',
};

const SENTENCES: Readonly<Record<string, string>> = { ...KERNEL_SENTENCES, ...OUR_SENTENCES };

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

/** A reason in a sentence. */
export function describeReset(name: string): string {
  return Object.hasOwn(SENTENCES, name) ? (SENTENCES[name] ?? '') : 'This reason is newer than netsonde.';
}
