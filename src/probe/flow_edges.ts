import type { FlowEnd, FlowFailure, FlowRole, RequestOutcome, RequestProtocol } from '#api/words.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { PeerIdentity } from './peer_identity.ts';

/** Name of the probe whose edges `/api/v1/flows` shows. */
export const FLOW_PROBE = 'flow';
/** Name of the probe whose edges `/api/v1/map` adds to those of `flow`. */
export const UDP_PROBE = 'udpflow';

/** The two ends of an edge. */
export interface EdgePlace {
  /**
   * Namespace of the connections. For connections that are counted in a rest row, the namespace under which the counts
   * of their owner are shown.
   */
  readonly netns: NetnsId;
  readonly role: FlowRole;
  /** Address of the other end in the format of `formatIp`; null for connections that are counted in a rest row. */
  readonly peer: string | null;
  /** Identity of the other end; undefined for connections that are counted in a rest row. */
  readonly identity: PeerIdentity | undefined;
  /** Port of the server; 0 if `peer` is null. */
  readonly port: number;
  /** Names under which the owner of the namespace has resolved the peer's address; absent if there are none. */
  readonly dnsNames?: readonly string[];
}

/** The two ends of an edge, and its bytes. */
export interface EdgeEnds extends EdgePlace {
  /** Bytes of payload. */
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
}

/** Totals of one edge of TCP connections, as counted by the kernel. Only `open` can decrease. */
export interface EdgeTotals extends EdgeEnds {
  readonly open: number;
  readonly connections: Counter;
  readonly failed: Readonly<Partial<Record<FlowFailure, Counter>>>;
  readonly ends: Readonly<Partial<Record<FlowEnd, Counter>>>;
  readonly sentSegments: Counter;
  readonly receivedSegments: Counter;
  readonly retransmittedSegments: Counter;
  readonly retransmittedBytes: Counter;
  readonly outOfOrderSegments: Counter;
  readonly busySeconds: number;
  readonly receiverLimitedSeconds: number;
  readonly sendBufferLimitedSeconds: number;
  /** Number of measured round-trip times, and their sum in seconds. */
  readonly roundTrips: { readonly count: Counter; readonly sumSeconds: number };
}

/** Totals of one edge of UDP datagrams. */
export interface DatagramTotals extends EdgeEnds {
  readonly sentDatagrams: Counter;
  readonly receivedDatagrams: Counter;
}

/** Totals of the requests of one edge that have ended. */
export interface RequestTotals extends EdgePlace {
  readonly protocol: RequestProtocol;
  /** Requests by how they ended. */
  readonly requests: Readonly<Record<RequestOutcome, Counter>>;
  /** Requests with a measured duration, by bucket, and the sum of their durations in nanoseconds. */
  readonly durations: readonly Counter[];
  readonly sumNs: Counter;
}

/** All edges of a probe after one collection. */
export interface Edges<Row extends EdgePlace> {
  /** When the collection ended, in milliseconds since the epoch. */
  readonly collectedAtMs: number;
  readonly edges: Iterable<Row>;
  /**
   * Totals of rows that ended before this collection, summed by namespace, role, identity and port. The totals of
   * forgotten owners are summed by role only. The sums of these totals and `edges` never decrease.
   */
  readonly departed: Iterable<Row>;
}

/** Connections of a namespace by whether their requests are read. */
export interface ReadConnections {
  readonly netns: NetnsId;
  readonly read: Counter;
  readonly encrypted: Counter;
  readonly other: Counter;
  /** Connections that are older than the probe. */
  readonly late: Counter;
  /** Segments of connections that are not read because there are too many. */
  readonly refused: Counter;
}

export interface RequestEdges extends Edges<RequestTotals> {
  /** Empty if the probe does not count connections. */
  readonly connections: readonly ReadConnections[];
  /** Totals of requests without a row of their own, by namespace, role and protocol. */
  readonly rests: readonly RequestTotals[];
}

export type FlowEdges = Edges<EdgeTotals>;

export interface DatagramEdges extends Edges<DatagramTotals> {
  /** Bytes of datagrams that are counted in rest rows, in both directions. `edges` does not contain them. */
  readonly restBytes: number;
}
