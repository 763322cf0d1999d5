import type { FlowRecord } from '#api/flows.ts';
import type { FlowEnd, FlowFailure, FlowRole } from '#api/words.ts';
import { joinEndpoint } from '#core/address.ts';
import type { Counter } from '#core/counter.ts';
import { formatTimeNs } from '#core/kernel_time.ts';
import type { NetnsId } from '#core/netns.ts';
import type { RecordBody, RecordOffer } from './records.ts';

/** Kind of records that probes for ended connections produce. */
export const FLOW_RECORDS: RecordOffer = {
  kind: 'flow',
  help: 'A record describes a TCP connection that has ended, as seen by one of its ends. A connection is considered failed if it was never established, timed out, or was reset by the peer. `slow` is compared with the time that a failed attempt took. Records of failed connections are sent by default. With `slow` or `sample`, records also contain the time at which the connection was established; storing it takes 0.4 µs per connection.',
  failedByDefault: true,
};

/** An ended connection from the perspective of one of its ends. */
export interface EndedConnection {
  /** When the connection ended, in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  readonly netns: NetnsId;
  readonly role: FlowRole;
  /** Local address in the format of `formatIp`. */
  readonly local: string;
  /** Local port; 0 if the kernel could not find a free port. */
  readonly localPort: number;
  readonly peer: string;
  readonly peerPort: number;
  /** Name of the state just before the connection ended, as returned by `tcpStateName`. */
  readonly state: string;
  /** How an established connection ended, or why it was never established. */
  readonly outcome: { readonly end: FlowEnd } | { readonly cause: FlowFailure };
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
  readonly sentSegments: Counter;
  readonly receivedSegments: Counter;
  readonly retransmittedSegments: Counter;
  readonly retransmittedBytes: Counter;
  /** Time in seconds from the first SYN until the attempt failed; null if unknown. */
  readonly connectSeconds: number | null;
  readonly roundTripSeconds: number | null;
  readonly minRoundTripSeconds: number | null;
  readonly busySeconds: number;
  readonly receiverLimitedSeconds: number;
  readonly sendBufferLimitedSeconds: number;
  /** When the connection was established, in nanoseconds since the epoch; null if unknown. */
  readonly startedNs: bigint | null;
}

/** Ends that count as failures. Must match `consumers_of` in `src/bpf/probes/tcp_ends.bpf.h`. */
const FAILED_ENDS: readonly FlowEnd[] = ['reset_by_peer', 'timeout', 'other'];

const MS_PER_SECOND = 1_000;

/** Returns the record of an ended connection, for `scope.record`. */
export function flowRecord(ended: EndedConnection): RecordBody {
  const { timeNs, netns, connectSeconds } = ended;
  const fields = fieldsOf(ended);
  return {
    kind: 'flow',
    timeNs,
    netns,
    candidate: {
      failed: fields.failed,
      tookMs: connectSeconds === null ? undefined : connectSeconds * MS_PER_SECOND,
    },
    fields: { ...fields, message: messageOf(fields) },
  };
}

type Fields = Omit<FlowRecord, 'time' | 'probe' | 'node' | 'netns' | 'namespace' | 'pod' | 'message'>;

function fieldsOf({ role, state, outcome, startedNs, ...ended }: EndedConnection): Fields {
  const local = { ip: ended.local, port: ended.localPort };
  const peer = { ip: ended.peer, port: ended.peerPort };
  const [client, server] = role === 'client' ? [local, peer] : [peer, local];
  const [end, cause] = 'end' in outcome ? [outcome.end, null] : [null, outcome.cause];
  return {
    src: client.ip,
    srcPort: client.port === 0 ? null : client.port,
    dst: server.ip,
    dstPort: server.port,
    role,
    state,
    failed: end === null || FAILED_ENDS.includes(end),
    cause,
    end,
    sentBytes: Number(ended.sentBytes),
    receivedBytes: Number(ended.receivedBytes),
    sentSegments: Number(ended.sentSegments),
    receivedSegments: Number(ended.receivedSegments),
    retransmittedSegments: Number(ended.retransmittedSegments),
    retransmittedBytes: Number(ended.retransmittedBytes),
    connectSeconds: ended.connectSeconds,
    roundTripSeconds: ended.roundTripSeconds,
    minRoundTripSeconds: ended.minRoundTripSeconds,
    busySeconds: ended.busySeconds,
    receiverLimitedSeconds: ended.receiverLimitedSeconds,
    sendBufferLimitedSeconds: ended.sendBufferLimitedSeconds,
    startedAt: startedNs === null ? null : formatTimeNs(startedNs),
  };
}

const FAILURES: Readonly<Record<FlowFailure, string>> = {
  refused: 'the peer refused it',
  timeout: 'the peer did not answer',
  unreachable: 'the network cannot reach the peer',
  given_up: 'the application gave up',
  no_port: 'no local port was free',
  other: 'the kernel gives no cause that netsonde knows',
};

const ENDS: Readonly<Record<FlowEnd, string>> = {
  closed: 'was closed',
  reset_by_peer: 'was reset by the peer',
  reset_here: 'was reset by this end',
  timeout: 'timed out',
  other: 'was ended by the kernel',
};

function messageOf(fields: Fields): string {
  const { src, srcPort, dst, dstPort, cause, end, connectSeconds, retransmittedSegments, sentSegments } = fields;
  const connection = `A connection from ${joinEndpoint(src, srcPort ?? undefined)} to ${joinEndpoint(dst, dstPort)}`;
  if (cause !== null) {
    const after = connectSeconds === null ? '' : ` after ${connectSeconds.toFixed(3)} s`;
    return `${connection} failed${after}: ${FAILURES[cause]}.`;
  }
  const retransmitted =
    retransmittedSegments === 0 ? '' : ` ${retransmittedSegments} of ${sentSegments} segments were retransmitted.`;
  return `${connection} ${ENDS[end ?? 'other']} after ${fields.sentBytes} bytes sent and ${fields.receivedBytes} received.${retransmitted}`;
}
