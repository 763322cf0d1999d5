import { asNetnsId } from '#core/netns.ts';
import type { EdgeTotals } from '#probe/flow_edges.ts';

/** Returns the totals of an edge in namespace 2. `more` overrides fields. */
export function makeFlowRow(more: Partial<EdgeTotals> = {}): EdgeTotals {
  return {
    netns: asNetnsId(2),
    role: 'client',
    peer: '10.0.0.7',
    port: 5_432,
    open: 1,
    connections: 10,
    failed: {},
    ends: { closed: 9 },
    sentBytes: 1_000,
    receivedBytes: 2_000,
    sentSegments: 100,
    receivedSegments: 90,
    retransmittedSegments: 0,
    retransmittedBytes: 0,
    outOfOrderSegments: 0,
    busySeconds: 0.5,
    receiverLimitedSeconds: 0,
    sendBufferLimitedSeconds: 0.25,
    roundTrips: { count: 4, sumSeconds: 0.002 },
    ...more,
  };
}
