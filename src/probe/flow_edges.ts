import type { FlowEnd, FlowFailure, FlowRole } from '#api/words.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/** Name of the probe whose edges `/api/v1/flows` shows. */
export const FLOW_PROBE = 'flow';

/** Totals of one edge, as counted by the kernel. Only `open` can decrease. */
export interface EdgeTotals {
  /**
   * Namespace of the connections. For connections without a row of their own, the namespace under which their owner's
   * counts are shown.
   */
  readonly netns: NetnsId;
  readonly role: FlowRole;
  /** Address of the other end in the format of `formatIp`; null for connections without a row of their own. */
  readonly peer: string | null;
  /** Port of the server; 0 if `peer` is null. */
  readonly port: number;
  readonly open: number;
  readonly connections: Counter;
  readonly failed: Readonly<Partial<Record<FlowFailure, Counter>>>;
  readonly ends: Readonly<Partial<Record<FlowEnd, Counter>>>;
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
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

/** All edges of a probe as of one collection. */
export interface FlowEdges {
  /** End of the collection, in milliseconds since the epoch. */
  readonly collectedAtMs: number;
  readonly edges: Iterable<EdgeTotals>;
}
