import { flowRow } from '#bpf/generated/common.ts';
import { EDGES_MAX, edgeLabels } from '#probe/edge_labels.ts';
import { FAILURE_CAUSES, FAILURES_HELP, type FlowEnd, type FlowField } from '#probe/flow_row.ts';
import { defineMetrics, type JointBound } from '#probe/metric.ts';
import { UNRESOLVED } from '#probe/peers.ts';
import { TRANSLATION_STATES } from '#probe/translation.ts';

/** Limit for the edges that are shown for each Pod. */
export const FLOW_BOUND = {
  max: EDGES_MAX,
  rank: ['sentBytes', 'receivedBytes'],
} as const satisfies JointBound;

/**
 * Upper bounds of the buckets for round-trip times, in seconds. The first bound is 64 µs, and each further bound is
 * four times the previous one.
 */
const ROUND_TRIP_BUCKETS = Array.from({ length: flowRow.roundTripsCount - 1 }, (_, index) => (64 * 4 ** index) / 1e6);

const EDGE = edgeLabels(FLOW_BOUND);

const counter = { type: 'counter', scope: 'pod' } as const;
const ROWS = 'map flow_rows';

/** Ways in which established connections end, by the name that the BPF program uses. */
export const ENDS = ['closed', 'reset_by_peer', 'reset_here', 'timeout', 'other'] as const satisfies readonly FlowEnd[];

export const FLOW_METRICS = defineMetrics({
  sentBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_sent_bytes_total',
    help: 'Payload bytes sent over TCP, excluding retransmissions.',
    source: `tcp_sock.bytes_sent, bytes_retrans, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  receivedBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_received_bytes_total',
    help: 'Payload bytes received over TCP, excluding duplicates.',
    source: `tcp_sock.bytes_received, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  connections: {
    ...counter,
    name: 'netsonde_flow_connections_total',
    help: 'TCP connections established.',
    source: `sock:inet_sock_set_state, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  open: {
    type: 'gauge',
    scope: 'pod',
    name: 'netsonde_flow_open_connections',
    help: 'TCP sockets that are connected, connecting or closing.',
    source: `sock_common.skc_state, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  failed: {
    ...counter,
    name: 'netsonde_flow_failed_connections_total',
    help: 'TCP connections that could not be established, by cause.',
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
    help: 'TCP segments retransmitted.',
    source: `tcp_sock.total_retrans, ${ROWS}`,
    detail: 'core',
    labels: EDGE,
  },
  sentSegments: {
    ...counter,
    name: 'netsonde_flow_sent_segments_total',
    help: 'TCP segments sent, including retransmissions. SYN-ACKs of servers and resets after the close are not counted.',
    source: `tcp_sock.segs_out, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  receivedSegments: {
    ...counter,
    name: 'netsonde_flow_received_segments_total',
    help: 'TCP segments received.',
    source: `tcp_sock.segs_in, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  retransmittedBytes: {
    ...counter,
    unit: 'bytes',
    name: 'netsonde_flow_retransmitted_bytes_total',
    help: 'Payload bytes retransmitted over TCP.',
    source: `tcp_sock.bytes_retrans, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  outOfOrderSegments: {
    ...counter,
    name: 'netsonde_flow_out_of_order_segments_total',
    help: 'TCP segments received out of order.',
    source: `tcp_sock.rcv_ooopack, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  closed: {
    ...counter,
    name: 'netsonde_flow_closed_connections_total',
    help: 'Established TCP connections that ended, by outcome.',
    source: `sock:inet_sock_set_state, ${ROWS}`,
    detail: 'full',
    labels: {
      ...EDGE,
      end: {
        help: 'closed: both ends closed the connection; reset_by_peer: the peer reset it; reset_here: this end closed it with a reset, for example because of unread data; timeout: the peer stopped acknowledging; other: it ended in another way.',
        values: ENDS,
      },
    },
  },
  busySeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_busy_seconds_total',
    help: 'Time during which TCP connections had data to send and only the network limited them. The times of all connections with the same peer and port are added.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  receiverLimitedSeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_receiver_limited_seconds_total',
    help: 'Time during which TCP connections had data to send, but the receive window of the peer was closed.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  sendBufferLimitedSeconds: {
    ...counter,
    unit: 'seconds',
    name: 'netsonde_flow_send_buffer_limited_seconds_total',
    help: 'Time during which TCP connections had data to send, but their send buffer was too small.',
    source: `tcp_sock.chrono_stat, ${ROWS}`,
    detail: 'full',
    labels: EDGE,
  },
  roundTrip: {
    type: 'histogram',
    scope: 'pod',
    unit: 'seconds',
    name: 'netsonde_flow_round_trip_seconds',
    help: 'Smoothed round-trip times of TCP connections, observed when a connection closes, and at each scrape while it is in use.',
    source: `tcp_sock.srtt_us, ${ROWS}`,
    detail: 'full',
    buckets: ROUND_TRIP_BUCKETS,
    labels: EDGE,
  },
  rows: {
    type: 'gauge',
    scope: 'node',
    name: 'netsonde_flow_rows',
    help: 'Rows of TCP traffic in the kernel, one for each Pod, role, peer address and port.',
    source: ROWS,
    detail: 'core',
    labels: {},
  },
  unresolvedPeers: {
    type: 'gauge',
    scope: 'node',
    name: 'netsonde_flow_unresolved_peers',
    help: 'Peer addresses without an identity in the last collection. Their connections are shown with `peer_kind="unknown"`, or with `pending` if the address is pending.',
    source: 'main thread',
    detail: 'core',
    labels: {
      reason: {
        help: 'unknown: the agent knows no owner of the address; pending: the agent has not read all names of the cluster since it started; unanswered: the agent was too busy to look up the address in time; changed: the address got another owner since the previous collection; no_room: there are too many addresses.',
        values: UNRESOLVED,
      },
    },
  },
  translatedPeers: {
    type: 'gauge',
    scope: 'node',
    name: 'netsonde_flow_translated_peers',
    help: 'Rows of TCP traffic in the last collection whose peer may be behind NAT: its address is that of a node, or unknown. Their peer is the real end if the state is `resolved`, and otherwise what the address belongs to.',
    source: 'connection tracking of the node',
    detail: 'core',
    labels: {
      state: {
        help: 'resolved: all connections of the last two intervals have the same real end; direct: they are not translated; pending: the row is new; mixed: they have several real ends; untracked: some are not in the table of connection tracking; no_room: there are too many; no_lookup: connections cannot be looked up.',
        values: TRANSLATION_STATES,
      },
    },
  },
  hiddenBytes: {
    type: 'counter',
    scope: 'node',
    unit: 'bytes',
    name: 'netsonde_flow_hidden_bytes_total',
    help: 'Payload bytes sent over connections of a Pod or the node to itself, which are shown only with `loopback: true`.',
    source: ROWS,
    detail: 'core',
    labels: {},
  },
  evictedRows: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_flow_evicted_rows_total',
    help: 'Idle rows of TCP traffic that were deleted to free space for other rows of the same Pod.',
    source: ROWS,
    detail: 'core',
    labels: {},
  },
});

/** Metrics that show a count of a row, by field. For metrics in seconds, the row contains jiffies. */
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
