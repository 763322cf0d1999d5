import { tcpState } from '#bpf/generated/common.ts';
import { tcpStates } from '#bpf/generated/tcpsummary.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Returns whether sockets in this state have queues whose lengths can be computed from sequence numbers. */
export function hasQueues(state: number): boolean {
  return state <= tcpState.new_syn_recv && (tcpStates.with_queues & (1 << state)) !== 0;
}

/** Established connections that are waiting to be accepted. */
export interface Backlog {
  readonly length: number;
  readonly limit: number;
}

/** Accept queues of all sockets that listen on a port, added up. */
export interface AcceptQueue {
  readonly port: number;
  readonly length: number;
  readonly limit: Counter;
  /** Queue of the socket that is closest to refusing connections. */
  readonly fullest: Backlog;
}

/** Compares two queues for sorting: by fill ratio in descending order, then by port. */
export function byFullness(a: AcceptQueue, b: AcceptQueue): number {
  return fullness(b.fullest) - fullness(a.fullest) || a.port - b.port;
}

/**
 * Returns the fill ratio of the queue. At 1, new connections are refused. This happens at one connection above the
 * limit (include/net/sock.h, sk_acceptq_is_full()).
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
  /** Number of segments dropped since the socket started to listen. The counter has 32 bits and may wrap around. */
  readonly drops: number;
  /** Decimal ID of the socket's cgroup (v2); undefined if unknown. */
  readonly cgroup: string | undefined;
}

/** Totals of the TCP sockets of one namespace, for IPv4 and IPv6 together. */
export interface TcpSummary {
  /** Number of sockets, indexed by state. Index 0 is unused. */
  readonly sockets: readonly number[];
  /** Number of received bytes that the application has not read. */
  readonly receiveQueue: Counter;
  /** Number of bytes that the peer has not acknowledged, including those that have not been sent yet. */
  readonly sendQueue: Counter;
  /** Length of the longest receive queue of any socket, in bytes. */
  readonly largestReceiveQueue: number;
  readonly largestSendQueue: number;
  /** Accept queues, fullest first. If the number of rows is limited, the emptiest queues are omitted. */
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

/** Result of a walk that has added open sockets to the rows of closed sockets. */
export interface RowsWalk {
  /** Sequence number of the walk. */
  readonly walk: number;
  /** Kinds of rows that the walk has updated, as bits of `tcpRowsWanted`. */
  readonly updated: number;
  /** Number of connections that the walk left out. They are counted when they are closed. */
  readonly left: number;
  /** Makes the programs stop updating the row with this key. The row can be deleted after the next walk. */
  evict(key: Uint8Array): void;
}

export interface TcpSnapshot {
  /** True if the walk has updated rows that include closed sockets. */
  readonly hasRows?: boolean;
  /** Returns the totals of a namespace; undefined if it could not be read. Failures are counted. */
  summary(id: NetnsId): TcpSummary | undefined;
}
