import { flowRow } from '#bpf/generated/common.ts';
import { FAILURE_CAUSES, FAILURES_HELP, type FlowEnd, type FlowField } from '#probe/flow_row.ts';
import { defineMetrics, type JointBound, type JointLabel } from '#probe/metric.ts';

/** Limits of the edges that a Pod shows. */
export const FLOW_BOUND = {
  max: { core: 16, full: 64 },
  rank: ['sentBytes', 'receivedBytes'],
} as const satisfies JointBound;

/** Maximum number of ports that are shown for each role and peer. */
const PORTS_MAX = 16;

/**
 * Upper bounds in seconds of the buckets of round-trip times. The first bound is 64 µs, and each further bound is four
 * times the previous one.
 */
const ROUND_TRIP_BUCKETS = Array.from({ length: flowRow.roundTripsCount - 1 }, (_, index) => (64 * 4 ** index) / 1e6);

const ROLE: JointLabel = { help: 'Side of the Pod: client or server.', example: 'client', joint: FLOW_BOUND };
const PEER: JointLabel = { help: 'Address of the other end.', example: '10.1.2.3', joint: FLOW_BOUND };
const PORT: JointLabel = { help: 'Port of the server.', example: '443', joint: FLOW_BOUND, max: PORTS_MAX };
const EDGE = { role: ROLE, peer: PEER, port: PORT } as const;

const counter = { type: 'counter', scope: 'pod' } as const;
const ROWS = 'map flow_rows';

/** Ends of established connections, by the name that the BPF program uses. */
export const ENDS = ['closed', 'reset_by_peer', 'reset_here', 'timeout', 'other'] as const satisfies readonly FlowEnd[];

export const FLOW_METRICS = defineMetrics({
  sentBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_sent_bytes_total',
    help: 'Bytes of payload that were sent over TCP, without retransmissions.',
    source: `tcp_sock.bytes_sent, bytes_retrans, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  receivedBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_received_bytes_total',
    help: 'Bytes of payload that were received over TCP, each once.',
    source: `tcp_sock.bytes_received, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  connections: {
    ...counter,
    name: 'netsonde_flow_connections_total',
    help: 'TCP connections that were established.',
    source: `sock:inet_sock_set_state, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  open: {
    type: 'gauge',
    scope: 'pod',
    name: 'netsonde_flow_open_connections',
    help: 'TCP sockets that are connected, or are being connected or closed.',
    source: `sock_common.skc_state, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  failed: {
    ...counter,
    name: 'netsonde_flow_failed_connections_total',
    help: 'TCP connections that were not established, by cause.',
    source: `sock.sk_err, ${ROWS}`,
    detail: 'core',
    labels: {
      ...EDGE,
      cause: { help: FAILURES_HELP, values: FAILURE_CAUSES },
    },
  },
  retransmittedSegments: {
    ...counter,
    name: 'netsonde_flow_retransmitted_segments_total',
    help: 'TCP segments that were sent again.',
    source: `tcp_sock.total_retrans, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  sentSegments: {
    ...counter,
    name: 'netsonde_flow_sent_segments_total',
    help: 'TCP segments that were sent, retransmissions included. A server counts no SYN-ACK, and no end counts resets after the close.',
    source: `tcp_sock.segs_out, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  receivedSegments: {
    ...counter,
    name: 'netsonde_flow_received_segments_total',
    help: 'TCP segments that were received.',
    source: `tcp_sock.segs_in, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  retransmittedBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_retransmitted_bytes_total',
    help: 'Bytes of payload that were sent again over TCP.',
    source: `tcp_sock.bytes_retrans, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  outOfOrderSegments: {
    ...counter,
    name: 'netsonde_flow_out_of_order_segments_total',
    help: 'TCP segments that arrived before an earlier one.',
    source: `tcp_sock.rcv_ooopack, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  closed: {
    ...counter,
    name: 'netsonde_flow_closed_connections_total',
    help: 'Established TCP connections that ended, by how they ended.',
    source: `sock:inet_sock_set_state, ${ROWS}`,
    detail: 'full',
    labels: {
      ...EDGE,
      end: {
        help: 'closed: both ends closed it; reset_by_peer; reset_here: this end closed it with a reset, as with unread data; timeout: the other end no longer acknowledged; other.',
        values: ENDS,
      },
    },
  },
  busySeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_busy_seconds_total',
    help: 'Time in which TCP connections had data to send, and only the network limited them. Connections that share a peer and a port add up.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  receiverLimitedSeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_receiver_limited_seconds_total',
    help: 'Time in which TCP connections had data to send, and the window of the receiver was closed.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  sendBufferLimitedSeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_send_buffer_limited_seconds_total',
    help: 'Time in which TCP connections had data to send, and their send buffer was too small.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  roundTrip: {
    type: 'histogram',
    scope: 'pod',
    unit: 'seconds',
    name: 'netsonde_flow_round_trip_seconds',
    help: 'Smoothed round-trip times of TCP connections: one when the connection closes, and one at each scrape while it is in use.',
    source: `tcp_sock.srtt_us, ${ROWS}`,
    detail: 'full',
    buckets: ROUND_TRIP_BUCKETS,
    labels: EDGE,
  },
  rows: {
    type: 'gauge',
    scope: 'node',
    name: 'netsonde_flow_rows',
    help: 'Rows of TCP traffic in the kernel: one for each Pod, role, peer and port.',
    source: ROWS,
    detail: 'core',
    labels: {},
  },
  evictedRows: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_flow_evicted_rows_total',
    help: 'Idle rows of TCP traffic that were deleted to make room for others of the same Pod.',
    source: ROWS,
    detail: 'core',
    labels: {},
  },
});

/** Metrics that show a count of a row, by field. Metrics in seconds are in jiffies in the row. */
export const COUNTS_OF = {
  sentBytes: 'sent_bytes',
  receivedBytes: 'received_bytes',
  connections: 'connections',
  retransmittedSegments: 'retransmitted_segments',
  sentSegments: 'sent_segments',
  receivedSegments: 'received_segments',
  retransmittedBytes: 'retransmitted_bytes',
  outOfOrderSegments: 'out_of_order_segments',
} as const satisfies Partial<Record<keyof typeof FLOW_METRICS, FlowField>>;

export const SECONDS_OF = {
  busySeconds: 'busy',
  receiverLimitedSeconds: 'receiver_limited',
  sendBufferLimitedSeconds: 'send_buffer_limited',
} as const satisfies Partial<Record<keyof typeof FLOW_METRICS, FlowField>>;
