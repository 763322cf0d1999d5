import type { FlowEnd } from '#api/words.ts';
import { addressOf, portOf } from '#core/address.ts';
import type { NetnsId } from '#core/netns.ts';
import type { EdgeTotals } from '#probe/flow_edges.ts';
import type { EndedConnection } from '#probe/flow_record.ts';
import { FAILURES, type FlowRow, isFailure } from '#probe/flow_row.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import { ENDS } from './flow_metrics.ts';

const MICROSECONDS = 1e-6;

/**
 * Converts an ended connection to the content of a record.
 * @param netns subject of the record
 * @param perSecond jiffies per second
 */
export function endedConnection(end: SocketEnd, netns: NetnsId, perSecond: number): EndedConnection {
  const { timeNs, role, state, src = '', dst = '', counts } = end;
  return {
    timeNs,
    netns,
    role,
    local: addressOf(src),
    localPort: portOf(src) ?? 0,
    peer: addressOf(dst),
    peerPort: portOf(dst) ?? 0,
    state,
    outcome: isFailure(end.end) ? { cause: FAILURES[end.end] } : { end: end.end as FlowEnd },
    sentBytes: counts.sent_bytes,
    receivedBytes: counts.received_bytes,
    sentSegments: counts.sent_segments,
    receivedSegments: counts.received_segments,
    retransmittedSegments: counts.retransmitted_segments,
    retransmittedBytes: counts.retransmitted_bytes,
    connectSeconds: end.connectSeconds ?? null,
    roundTripSeconds: end.roundTripSeconds ?? null,
    minRoundTripSeconds: end.minRoundTripSeconds ?? null,
    busySeconds: counts.busy / perSecond,
    receiverLimitedSeconds: counts.receiver_limited / perSecond,
    sendBufferLimitedSeconds: counts.send_buffer_limited / perSecond,
    startedNs: end.startedNs ?? null,
  };
}

/**
 * Converts a row to an edge of the API.
 * @param netns subject of the row
 * @param perSecond jiffies per second
 */
export function edgeTotals(row: FlowRow, netns: NetnsId, perSecond: number): EdgeTotals | undefined {
  const { role, peer, port } = row.place;
  if (role === 'listener') return undefined;
  const failed = Object.entries(FAILURES).map(([end, cause]) => [cause, row.ended(end as keyof typeof FAILURES)]);
  return {
    netns,
    role,
    peer: port === undefined ? null : peer,
    identity: port === undefined ? undefined : (row.identity ?? UNKNOWN_PEER),
    port: port ?? 0,
    open: row.open,
    connections: row.count('connections'),
    failed: Object.fromEntries(failed),
    ends: Object.fromEntries(ENDS.map((end) => [end, row.ended(end)])),
    sentBytes: row.count('sent_bytes'),
    receivedBytes: row.count('received_bytes'),
    sentSegments: row.count('sent_segments'),
    receivedSegments: row.count('received_segments'),
    retransmittedSegments: row.count('retransmitted_segments'),
    retransmittedBytes: row.count('retransmitted_bytes'),
    outOfOrderSegments: row.count('out_of_order_segments'),
    busySeconds: row.count('busy') / perSecond,
    receiverLimitedSeconds: row.count('receiver_limited') / perSecond,
    sendBufferLimitedSeconds: row.count('send_buffer_limited') / perSecond,
    roundTrips: {
      count: row.roundTrips.reduce((sum, count) => sum + count, 0),
      sumSeconds: row.roundTripSum * MICROSECONDS,
    },
  };
}
