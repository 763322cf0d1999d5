import { asNetnsId } from '#core/netns.ts';
import type { DatagramTotals, EdgeTotals, RequestTotals } from '#probe/flow_edges.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';

/** Returns the totals of an edge in namespace 2. `more` overrides fields. */
export function makeFlowRow(more: Partial<EdgeTotals> = {}): EdgeTotals {
  return {
    netns: asNetnsId(2),
    role: 'client',
    peer: '10.0.0.7',
    identity: more.peer === null ? undefined : UNKNOWN_PEER,
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

/** Returns the totals of a UDP edge in namespace 2. `more` overrides fields. */
export function makeDatagramRow(more: Partial<DatagramTotals> = {}): DatagramTotals {
  return {
    netns: asNetnsId(2),
    role: 'client',
    peer: '10.0.0.7',
    identity: UNKNOWN_PEER,
    port: 53,
    sentBytes: 300,
    receivedBytes: 900,
    sentDatagrams: 10,
    receivedDatagrams: 9,
    ...more,
  };
}

/** Returns the totals of the requests of an edge in namespace 2. `more` overrides fields. */
export function makeRequestRow(more: Partial<RequestTotals> = {}): RequestTotals {
  return {
    netns: asNetnsId(2),
    role: 'client',
    peer: '10.0.0.7',
    identity: more.peer === null ? undefined : UNKNOWN_PEER,
    port: 5_432,
    protocol: 'http1',
    requests: { ok: 10, declined: 3, failed: 2, unread: 1 },
    durations: [1, 4, 8, 2, 0, 0, 0, 0, 0],
    sumNs: 30_000_000,
    ...more,
  };
}
