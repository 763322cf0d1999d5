import type { RequestNumbers } from '#api/request_edges.ts';
import type { FlowFailure } from '#api/words.ts';
import type { EdgeEnds, EdgeTotals } from '#probe/flow_edges.ts';

/** Totals of one end of an edge. */
export interface Sums {
  connections: number;
  open: number;
  readonly failed: Partial<Record<FlowFailure, number>>;
  sentBytes: number;
  receivedBytes: number;
  sentDatagrams: number;
  receivedDatagrams: number;
  sentSegments: number;
  retransmittedSegments: number;
  roundTrips: number;
  roundTripSum: number;
  requests: RequestNumbers | null;
}

export function noSums(): Sums {
  return {
    connections: 0,
    open: 0,
    failed: {},
    sentBytes: 0,
    receivedBytes: 0,
    sentDatagrams: 0,
    receivedDatagrams: 0,
    sentSegments: 0,
    retransmittedSegments: 0,
    roundTrips: 0,
    roundTripSum: 0,
    requests: null,
  };
}

export function addRow(sums: Sums, row: EdgeTotals): void {
  sums.connections += Number(row.connections);
  sums.open += row.open;
  for (const [cause, count] of Object.entries(row.failed) as [FlowFailure, number | bigint][]) {
    if (Number(count) > 0) sums.failed[cause] = (sums.failed[cause] ?? 0) + Number(count);
  }
  addBytes(sums, row);
  sums.sentSegments += Number(row.sentSegments);
  sums.retransmittedSegments += Number(row.retransmittedSegments);
  sums.roundTrips += Number(row.roundTrips.count);
  sums.roundTripSum += row.roundTrips.sumSeconds;
}

export function addBytes(sums: Sums, row: EdgeEnds): void {
  sums.sentBytes += Number(row.sentBytes);
  sums.receivedBytes += Number(row.receivedBytes);
}

/** Swaps the directions of a server's totals, so that they can be added to those of its clients. */
export function asClient(server: Sums): Sums {
  return {
    ...server,
    sentBytes: server.receivedBytes,
    receivedBytes: server.sentBytes,
    sentDatagrams: server.receivedDatagrams,
    receivedDatagrams: server.sentDatagrams,
  };
}

export function failuresOf(ends: readonly Sums[]): Sums['failed'] {
  const total: Partial<Record<FlowFailure, number>> = {};
  for (const [cause, count] of ends.flatMap(({ failed }) => Object.entries(failed) as [FlowFailure, number][])) {
    total[cause] = (total[cause] ?? 0) + count;
  }
  return total;
}
