import * as z from 'zod';
import { PEER } from './events.ts';
import { cookie, count, dnsNames, kernelTime, time } from './fields.ts';
import { requestProtocol, requestTotals } from './request_edges.ts';
import { FLOW_ENDS, FLOW_FAILURES, FLOW_ROLES, PEER_KINDS } from './words.ts';

const port = () => z.int().min(0).max(65_535);
const seconds = () => z.number().min(0);

const role = () =>
  z.enum(FLOW_ROLES).describe('Role of the Pod: `client` opened the connection, `server` accepted it.');

const owner = () => ({
  namespace: z.string().nullable().describe('Namespace of the Pod; empty if there is none, null if it is unknown.'),
  pod: z
    .string()
    .nullable()
    .describe('Name of the Pod, container, namespace or process; empty for the node, null if it is unknown.'),
});

/** Bytes and segments that one end of a connection sent and received. */
const traffic = () => ({
  sentBytes: count().describe('Payload bytes sent. A retransmitted byte is counted only once.'),
  receivedBytes: count().describe('Payload bytes received in order.'),
  sentSegments: count().describe('Segments sent, including retransmitted ones.'),
  receivedSegments: count().describe('Segments received.'),
  retransmittedSegments: count().describe('Segments that were retransmitted, including SYNs.'),
  retransmittedBytes: count().describe('Payload bytes that were retransmitted.'),
});

/**
 * Seconds during which one end had data to send, and the part of this time during which the receiver or the send buffer
 * limited transmission.
 */
const limits = () => ({
  busySeconds: seconds().describe('Seconds during which data was waiting to be sent or acknowledged.'),
  receiverLimitedSeconds: seconds().describe('Part of `busySeconds` during which the window of the receiver was full.'),
  sendBufferLimitedSeconds: seconds().describe('Part of `busySeconds` during which the send buffer was full.'),
});

const RECORD = z.strictObject({
  time: kernelTime().describe('When the connection ended, according to the clock of the kernel.'),
  probe: z.string().describe('Probe that created the record.'),
  node: z.string().describe('Name of the node.'),
  netns: z
    .string()
    .regex(/^\d{0,20}$/)
    .describe('Cookie of the network namespace; empty if it is unknown.'),
  ...owner(),
  src: z.string().describe('Address of the client.'),
  srcPort: port().nullable().describe('Port of the client; null if none was assigned.'),
  dst: z.string().describe('Address of the server.'),
  dstPort: port().describe('Server port.'),
  peer: PEER.exactOptional().describe('Owner of the address of the other end; absent if it is unknown.'),
  dnsNames: dnsNames(),
  zone: z.string().exactOptional().describe('Zone of this node; absent if it is unknown.'),
  peerZone: z.string().exactOptional().describe('Zone of the other end; absent if it is unknown.'),
  role: role(),
  state: z
    .string()
    .describe('State before the connection ended, under its kernel name, such as `SYN_SENT` or `ESTABLISHED`.'),
  failed: z.boolean().describe('Whether the connection was never established, timed out, or was reset by the peer.'),
  cause: z
    .enum(FLOW_FAILURES)
    .nullable()
    .describe('Reason why the connection was never established; null if it was established.'),
  end: z.enum(FLOW_ENDS).nullable().describe('How the connection ended; null if it was never established.'),
  ...traffic(),
  connectSeconds: seconds()
    .nullable()
    .describe(
      'Seconds from the first SYN until the attempt failed; null if it did not fail, or if the time is unknown.',
    ),
  roundTripSeconds: seconds()
    .nullable()
    .describe(
      'Smoothed round-trip time when the data transfer ended, including delayed acknowledgements; null if it is unknown.',
    ),
  minRoundTripSeconds: seconds().nullable().describe('Shortest round-trip time; null if it is unknown.'),
  ...limits(),
  startedAt: kernelTime()
    .nullable()
    .describe(
      'When the connection was established; null if the probe did not store this time. It does so only if its `records` contains `slow` or `sample`.',
    ),
  message: z.string().describe('The record as a sentence.'),
});

/** A record of the kind `flow`. It describes one finished connection, as seen by one of its ends. */
export const FLOW_RECORD = RECORD.readonly();
export type FlowRecord = z.infer<typeof FLOW_RECORD>;

/**
 * Fields of a flow record that a client shows on one line. Unknown fields, ends and causes are accepted, because the
 * agent may have a different version.
 */
export const FLOW_SUMMARY = RECORD.pick({ time: true, namespace: true, pod: true, failed: true, message: true })
  .extend({ cause: z.string().nullable(), end: z.string().nullable() })
  .strip();
export type FlowSummary = z.infer<typeof FLOW_SUMMARY>;

/** Both ends of an edge, which stands for all connections of a Pod in one role with the same peer and server port. */
const ends = () => ({
  ...owner(),
  workload: z
    .string()
    .nullable()
    .describe(
      'Name of the workload of the Pod, such as its Deployment; `pod` if there is none, null if it is unknown.',
    ),
  netns: cookie().nullable().describe('Cookie of the network namespace; null if the row covers several.'),
  role: role(),
  peer: z
    .string()
    .describe(
      'Address of the other end; `*` for connections without a row of their own, `hidden` for all peers that a rule of `privacy` hides.',
    ),
  peerKind: z.enum(PEER_KINDS).nullable().describe('Kind of the owner of this address; null if `peer` is `*`.'),
  peerNamespace: z.string().describe('Namespace of this owner; empty if there is none.'),
  peerName: z
    .string()
    .describe(
      'Name of this owner, as in the label `peer` of the metrics; empty if there is none; `*` if `peer` is `*`.',
    ),
  dnsNames: z
    .array(z.string())
    .readonly()
    .describe(
      'Names under which the Pod has resolved this address, according to the probe `dns`, in the order in which it first did; at most 8. Empty unless the Pod is the client, and the peer is `external` or `unknown` and has no other name.',
    ),
  port: port().nullable().describe('Port of the server; null if `peer` is `*`.'),
});

const EDGE_FIELDS = z.strictObject({
  ...ends(),
  open: count().describe('Sockets that are connected, being connected or being closed.'),
  connections: count().describe('Connections that were established.'),
  failed: z
    .partialRecord(z.enum(FLOW_FAILURES), count())
    .readonly()
    .describe('Connections that were never established, by cause. Contains only causes that occurred.'),
  ends: z
    .partialRecord(z.enum(FLOW_ENDS), count())
    .readonly()
    .describe('Established connections that have ended, by how they ended. Contains only values that occurred.'),
  ...traffic(),
  outOfOrderSegments: count().describe('Segments that were received out of order.'),
  ...limits(),
  roundTripSeconds: seconds().nullable().describe('Mean of the measured round-trip times; null if none was measured.'),
  roundTripCount: count().describe(
    'Number of measured round-trip times: one when a connection closes, and one at each collection while it is in use.',
  ),
});
const EDGE = EDGE_FIELDS.readonly();
export type FlowEdge = z.infer<typeof EDGE>;

const REQUEST_FIELDS = z.strictObject({ ...ends(), protocol: requestProtocol(), ...requestTotals() });
const REQUEST_EDGE = REQUEST_FIELDS.readonly();
/** Requests between the ends of an edge, by protocol. */
export type RequestEdge = z.infer<typeof REQUEST_EDGE>;

const CONNECTIONS_READ = z.strictObject({
  namespace: owner().namespace,
  pod: owner().pod,
  read: count().describe('Connections of protocols whose requests are read.'),
  encrypted: count().describe('Connections that are encrypted (TLS).'),
  other: count().describe('Connections of other protocols.'),
  late: count().describe('Connections that are older than the probe. Their first requests were not seen.'),
  refused: count().describe('Segments of connections that are not read because there are too many connections.'),
});
/** Connections of a Pod by whether their requests are read. */
export type ConnectionsRead = Readonly<z.infer<typeof CONNECTIONS_READ>>;

const REQUESTS = z
  .strictObject({
    edges: z
      .array(REQUEST_EDGE)
      .readonly()
      .describe('Totals of the selected edges since their probes and `flow` were first enabled, most failed first.'),
    omitted: count().describe('Number of selected edges that were omitted because of `limit`.'),
    rest: z
      .array(REQUEST_EDGE)
      .readonly()
      .describe(
        'Totals of requests without a row of their own, for each Pod, role and protocol. The parameters `peer` and `port` do not apply to them.',
      ),
    departed: z
      .array(REQUEST_EDGE)
      .readonly()
      .describe('Totals of edges that have ended, for each Pod, role and protocol, as in `departed` of connections.'),
    connections: z
      .array(CONNECTIONS_READ.readonly())
      .readonly()
      .describe(
        'TCP connections with data of each Pod since the probe `http` was first enabled, by whether their requests are read. Each one that has shown its protocol is in one of the first three counts.',
      ),
  })
  .readonly()
  .describe(
    'Requests by edge, as the probes `http` and `dns` count them. Empty while neither is enabled. The parameter `failed` selects edges with failed requests. The sums over all three lists are the numbers of requests that have ended since `flow` was enabled.',
  );
export type RequestsReport = z.infer<typeof REQUESTS>;

/** Response body of `/api/v1/flows`. */
export const FLOWS_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    collectedAt: time().describe('When the totals were collected.'),
    edges: z
      .array(EDGE)
      .readonly()
      .describe('Totals of the selected edges since the probe was first enabled, worst first.'),
    omitted: count().describe('Number of selected edges that were omitted because of `limit`.'),
    rest: z
      .array(EDGE)
      .readonly()
      .describe(
        'Totals of connections without a row of their own, for each Pod and role. The parameters `peer` and `port` do not apply to them.',
      ),
    departed: z
      .array(EDGE)
      .readonly()
      .describe(
        'Totals of edges that have ended, for each Pod and role, because their rows were evicted, or the identity or owner of an end changed. A quarter of an hour after the last values of a Pod were shown, its totals become part of those of unknown Pods. The sums over these, all edges and `rest` never decrease. Growth of these totals is not new traffic. The parameters `peer` and `port` do not apply to them.',
      ),
    requests: REQUESTS,
  })
  .readonly();
export type FlowsReport = z.infer<typeof FLOWS_REPORT>;

/**
 * Fields of an edge that a client shows in a table row. Unknown fields, roles and causes are accepted, because the
 * agent may have a different version.
 */
const EDGE_SUMMARY = EDGE_FIELDS.pick({
  namespace: true,
  pod: true,
  netns: true,
  peer: true,
  port: true,
  open: true,
  connections: true,
  sentBytes: true,
  receivedBytes: true,
  sentSegments: true,
  retransmittedSegments: true,
  roundTripSeconds: true,
  roundTripCount: true,
})
  .extend({
    role: z.string(),
    failed: z.record(z.string(), count()),
    // Agents of earlier versions do not send these fields.
    peerKind: z.string().nullable().default(null),
    peerNamespace: z.string().default(''),
    peerName: z.string().default(''),
    dnsNames: z.array(z.string()).readonly().default([]),
  })
  .strip();
export type EdgeSummary = Readonly<z.infer<typeof EDGE_SUMMARY>>;

const REQUEST_SUMMARY = REQUEST_FIELDS.extend({
  role: z.string(),
  peerKind: z.string().nullable(),
  dnsNames: z.array(z.string()).readonly().default([]),
  protocol: z.string(),
  durations: z.array(count()),
}).strip();
export type RequestSummary = Readonly<z.infer<typeof REQUEST_SUMMARY>>;

/** Fields of the report that a client shows. */
export const FLOWS_SUMMARY = z.object({
  node: z.string(),
  collectedAt: time(),
  edges: z.array(EDGE_SUMMARY),
  omitted: count(),
  rest: z.array(EDGE_SUMMARY),
  // Agents of earlier versions do not send this field.
  requests: z
    .object({
      edges: z.array(REQUEST_SUMMARY),
      omitted: count(),
      rest: z.array(REQUEST_SUMMARY),
      connections: z.array(CONNECTIONS_READ.strip()),
    })
    .exactOptional(),
});
export type FlowsSummary = Readonly<z.infer<typeof FLOWS_SUMMARY>>;
