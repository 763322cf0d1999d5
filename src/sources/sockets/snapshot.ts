import { tcpState } from '#bpf/generated/common.ts';
import { tcpStates } from '#bpf/generated/tcpsummary.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Whether sequence numbers tell the queues in this state. */
export function hasQueues(state: number): boolean {
  return state <= tcpState.new_syn_recv && (tcpStates.with_queues & (1 << state)) !== 0;
}

/** Connections that are established and not accepted yet. */
export interface Backlog {
  readonly length: number;
  readonly limit: number;
}

/** Of all sockets that listen on the port. */
export interface AcceptQueue {
  readonly port: number;
  readonly length: number;
  readonly limit: Counter;
  /** Of the one socket that is nearest to refusing. */
  readonly fullest: Backlog;
}

/** For sorting: the fullest first, then by port. */
export function byFullness(a: AcceptQueue, b: AcceptQueue): number {
  return fullness(b.fullest) - fullness(a.fullest) || a.port - b.port;
}

/** 1 where it refuses: one more than the limit may wait (include/net/sock.h, sk_acceptq_is_full()). */
export function fullness({ length, limit }: Backlog): number {
  return length / (limit + 1);
}

/** A socket that listens and has dropped something. */
export interface Listener extends Backlog {
  readonly netns: NetnsId;
  /** Names the socket for as long as it is there. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Segments since it listens; 32 bits, which may wrap. */
  readonly drops: number;
  /** Id of its control group in the v2 hierarchy, in decimal; undefined where it is not known. */
  readonly cgroup: string | undefined;
}

/** What the TCP sockets of one namespace add up to, IPv4 and IPv6. */
export interface TcpSummary {
  /** Sockets by number of their state; 0 is none. */
  readonly sockets: readonly number[];
  /** Bytes that wait for the application. */
  readonly receiveQueue: Counter;
  /** Bytes sent, or to be sent, that are not acknowledged. */
  readonly sendQueue: Counter;
  /** The largest of one socket. */
  readonly largestReceiveQueue: number;
  readonly largestSendQueue: number;
  /** The fullest first: what has no room on the page is what matters least. */
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

export interface TcpSnapshot {
  /** Undefined where the namespace could not be read, which is counted. */
  summary(id: NetnsId): TcpSummary | undefined;
}
