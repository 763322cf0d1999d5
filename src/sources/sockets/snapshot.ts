import { tcpState } from '#bpf/generated/common.ts';
import { tcpStates } from '#bpf/generated/tcpsummary.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Whether sequence numbers give the length of the queues in this state. */
export function hasQueues(state: number): boolean {
  return state <= tcpState.new_syn_recv && (tcpStates.with_queues & (1 << state)) !== 0;
}

/** Established connections that are not accepted yet. */
export interface Backlog {
  readonly length: number;
  readonly limit: number;
}

/** Drops of all sockets that listen on the port. */
export interface AcceptQueue {
  readonly port: number;
  readonly length: number;
  readonly limit: Counter;
  /** Queue of the one socket that is nearest to refusing. */
  readonly fullest: Backlog;
}

/** Compares for sorting: the fullest first, then by port. */
export function byFullness(a: AcceptQueue, b: AcceptQueue): number {
  return fullness(b.fullest) - fullness(a.fullest) || a.port - b.port;
}

/** Fill ratio of the queue: 1 where it refuses, because one more than the limit may wait (include/net/sock.h, sk_acceptq_is_full()). */
export function fullness({ length, limit }: Backlog): number {
  return length / (limit + 1);
}

/** A listening socket that has dropped something. */
export interface Listener extends Backlog {
  readonly netns: NetnsId;
  /** Cookie, which identifies the socket for as long as it exists. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Segments dropped since the socket listens; 32 bits, which may wrap. */
  readonly drops: number;
  /** ID of its control group in the v2 hierarchy, in decimal; undefined where it is not known. */
  readonly cgroup: string | undefined;
}

/** Totals of the TCP sockets of one namespace, IPv4 and IPv6. */
export interface TcpSummary {
  /** Number of sockets by the number of their state; 0 is unused. */
  readonly sockets: readonly number[];
  /** Bytes that wait for the application. */
  readonly receiveQueue: Counter;
  /** Bytes that are sent, or wait to be sent, and are not acknowledged. */
  readonly sendQueue: Counter;
  /** The largest value of one socket. */
  readonly largestReceiveQueue: number;
  readonly largestSendQueue: number;
  /** Accept queues, the fullest first: rows that find no room on the page are those that matter least. */
  readonly acceptQueues: readonly AcceptQueue[];
}

export const NO_SOCKETS: TcpSummary = {
  sockets: new Array<number>(tcpState.new_syn_recv + 1).fill(0),
  receiveQueue: 0,
  sendQueue: 0,
  largestReceiveQueue: 0,
  largestSendQueue: 0,
  acceptQueues: [],
};

/** A walk that has added the open sockets to the rows of the ended ones. */
export interface RowsWalk {
  /** Number of the walk. */
  readonly walk: number;
  /** Number of connections that were left out: their counts come when they end. */
  readonly left: number;
  /** Makes the programs count no more in a row, given its key: it can be deleted after the next walk. */
  evict(key: Uint8Array): void;
}

export interface TcpSnapshot {
  /** The walk, where it has updated rows. */
  readonly rows?: RowsWalk | undefined;
  /** Returns undefined where the namespace could not be read, which is counted. */
  summary(id: NetnsId): TcpSummary | undefined;
}
