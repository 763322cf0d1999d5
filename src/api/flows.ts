import * as z from 'zod';
import { cookie, count, kernelTime, time } from './fields.ts';
import { FLOW_ENDS, FLOW_FAILURES, FLOW_ROLES } from './words.ts';

const port = () => z.int().min(0).max(65_535);
const seconds = () => z.number().min(0);

const role = () =>
  z.enum(FLOW_ROLES).describe('End that the Pod is: `client` opened the connection, `server` accepted it.');

const owner = () => ({
  namespace: z.string().nullable().describe('Namespace of the Pod; empty where there is none; null: unknown.'),
  pod: z
    .string()
    .nullable()
    .describe('Name of the Pod, container, namespace or process; empty: the node; null: unknown.'),
});

/** Bytes and segments that one end of a connection sent and received. */
const traffic = () => ({
  sentBytes: count().describe('Payload bytes sent, each counted once however often it was retransmitted.'),
  receivedBytes: count().describe('Payload bytes received, in order.'),
  sentSegments: count().describe('Segments sent, including retransmitted ones.'),
  receivedSegments: count().describe('Segments received.'),
  retransmittedSegments: count().describe('Segments that were retransmitted, including SYNs.'),
  retransmittedBytes: count().describe('Payload bytes that were retransmitted.'),
});

/**
 * Seconds in which one end had data to send, and the part of this time in which the receiver or the send buffer limited
 * it.
 */
const limits = () => ({
  busySeconds: seconds().describe('Seconds in which there was data to send or to be acknowledged.'),
  receiverLimitedSeconds: seconds().describe('Part of them in which the window of the receiver was full.'),
  sendBufferLimitedSeconds: seconds().describe('Part of them in which the send buffer was full.'),
});

const RECORD = z.strictObject({
  time: kernelTime().describe('When the connection ended, by the clock of the kernel.'),
  probe: z.string().describe('Probe that saw the end.'),
  node: z.string().describe('Name of the node.'),
  netns: z
    .string()
    .regex(/^\d{0,20}$/)
    .describe('Cookie of the network namespace; empty where it is unknown.'),
  ...owner(),
  src: z.string().describe('Address of the client.'),
  srcPort: port().nullable().describe('Port of the client; null where it got none.'),
  dst: z.string().describe('Address of the server.'),
  dstPort: port().describe('Port of the server.'),
  role: role(),
  state: z.string().describe('State before the end, as the kernel calls it: `SYN_SENT`, `ESTABLISHED`.'),
  failed: z.boolean().describe('Whether the connection was never established, timed out, or was reset by the peer.'),
  cause: z.enum(FLOW_FAILURES).nullable().describe('Cause why it was never established; null: it was.'),
  end: z.enum(FLOW_ENDS).nullable().describe('Way in which it ended; null where it was never established.'),
  ...traffic(),
  connectSeconds: seconds()
    .nullable()
    .describe(
      'Seconds from the first SYN until the attempt failed; null if it did not fail, or if the time is unknown.',
    ),
  roundTripSeconds: seconds()
    .nullable()
    .describe(
      'Smoothed round-trip time when the transfer of data ended, with delayed acknowledgements; null: unknown.',
    ),
  minRoundTripSeconds: seconds().nullable().describe('Shortest round-trip time; null: unknown.'),
  ...limits(),
  startedAt: kernelTime().nullable().describe('When it was established; null if that was not recorded.'),
  message: z.string().describe('A sentence for people.'),
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

/** An edge, which stands for all connections of a Pod in one role with the same peer and the same server port. */
const EDGE_FIELDS = z.strictObject({
  ...owner(),
  netns: cookie().nullable().describe('Cookie of the network namespace; null where the row covers several.'),
  role: role(),
  peer: z.string().describe('Address of the other end; `*`: connections that have no row of their own.'),
  port: port().nullable().describe('Port of the server; null with the peer `*`.'),
  open: count().describe('Sockets that are connected, being connected or being closed.'),
  connections: count().describe('Connections that were established.'),
  failed: z
    .partialRecord(z.enum(FLOW_FAILURES), count())
    .readonly()
    .describe('Connections that were never established, by cause; only causes that occurred.'),
  ends: z
    .partialRecord(z.enum(FLOW_ENDS), count())
    .readonly()
    .describe('Established connections that have ended, by the way they did; only ways that occurred.'),
  ...traffic(),
  outOfOrderSegments: count().describe('Segments that were received out of order.'),
  ...limits(),
  roundTripSeconds: seconds().nullable().describe('Mean of the measured round-trip times; null: none was measured.'),
});
const EDGE = EDGE_FIELDS.readonly();
export type FlowEdge = z.infer<typeof EDGE>;

/** Response body of `/api/v1/flows`. */
export const FLOWS_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    collectedAt: time().describe('When the totals were collected.'),
    edges: z
      .array(EDGE)
      .readonly()
      .describe('Totals of the edges that the parameters select, since the probe was first switched on; worst first.'),
    omitted: count().describe('Number of further edges that the parameters select, beyond `limit`.'),
    rest: z
      .array(EDGE)
      .readonly()
      .describe(
        'Totals of connections without a row of their own, for each Pod and role. `peer` and `port` as parameters do not select among them.',
      ),
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
})
  .extend({ role: z.string(), failed: z.record(z.string(), count()) })
  .strip();
export type EdgeSummary = Readonly<z.infer<typeof EDGE_SUMMARY>>;

/** Fields of the report that a client shows. */
export const FLOWS_SUMMARY = z.object({
  node: z.string(),
  collectedAt: time(),
  edges: z.array(EDGE_SUMMARY),
  omitted: count(),
  rest: z.array(EDGE_SUMMARY),
});
export type FlowsSummary = Readonly<z.infer<typeof FLOWS_SUMMARY>>;
