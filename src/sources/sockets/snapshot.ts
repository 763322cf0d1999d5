import { tcpState } from '#bpf/generated/common.ts';
import { tcpStates } from '#bpf/generated/tcpsummary.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Returns whether the lengths of the queues can be computed from sequence numbers in this state. */
export function hasQueues(state: number): boolean {
  return state <= tcpState.new_syn_recv && (tcpStates.with_queues & (1 << state)) !== 0;
}

/** Established connections that have not been accepted yet. */
export interface Backlog {
  readonly length: number;
  readonly limit: number;
}

/** Accept queues of all sockets that listen on a port. */
export interface AcceptQueue {
  readonly port: number;
  readonly length: number;
  readonly limit: Counter;
  /** Queue of the socket that is closest to refusing connections. */
  readonly fullest: Backlog;
}

/** Compares two queues for sorting: the fullest first, then by port. */
export function byFullness(a: AcceptQueue, b: AcceptQueue): number {
  return fullness(b.fullest) - fullness(a.fullest) || a.port - b.port;
}

/**
 * Returns the fill ratio of the queue. At 1 it refuses connections: one more connection than the limit may wait
 * (include/net/sock.h, sk_acceptq_is_full()).
 */
export function fullness({ length, limit }: Backlog): number {
  return length / (limit + 1);
}

/** A listening socket that has dropped a segment. */
export interface Listener extends Backlog {
  readonly netns: NetnsId;
  /** Cookie that identifies the socket throughout its lifetime. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Number of segments dropped since the socket started to listen. The counter has 32 bits and may wrap. */
  readonly drops: number;
  /** ID of the socket's cgroup (v2), in decimal; undefined if unknown. */
  readonly cgroup: string | undefined;
}

/** Totals of the TCP sockets of one namespace, for IPv4 and IPv6 together. */
export interface TcpSummary {
  /** Number of sockets, indexed by the number of their state. Index 0 is unused. */
  readonly sockets: readonly number[];
  /** Number of received bytes that the application has not read. */
  readonly receiveQueue: Counter;
  /** Number of unacknowledged bytes, whether already sent or still waiting to be sent. */
  readonly sendQueue: Counter;
  /** Longest receive queue of a single socket. */
  readonly largestReceiveQueue: number;
  readonly largestSendQueue: number;
  /** Accept queues, the fullest first, so that the least important rows are left out if the page has no room. */
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

/** Result of a walk that has added the open sockets to the rows of the ended sockets. */
export interface RowsWalk {
  /** Number of the walk. */
  readonly walk: number;
  /** Rows that the walk has updated: bits of `tcpRowsWanted`. */
  readonly updated: number;
  /** Number of connections that were left out. They are counted only when they end. */
  readonly left: number;
  /** Makes the programs stop counting in the row with this key. The row can be deleted after the next walk. */
  evict(key: Uint8Array): void;
}

export interface TcpSnapshot {
  /** True if a walk has updated the rows of ended sockets. */
  readonly hasRows?: boolean;
  /** Returns undefined if the namespace could not be read. The failure is counted. */
  summary(id: NetnsId): TcpSummary | undefined;
}
