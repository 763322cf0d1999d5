import * as z from 'zod';
import { count, time } from './fields.ts';
import { REQUEST_TOTALS } from './request_edges.ts';
import { EDGE_PROTOCOLS, FLOW_FAILURES, PEER_KINDS, SEEN_BY, SHOWN_ON_MAP } from './words.ts';

const share = () => z.number().min(0).max(1);

const NODE = z
  .strictObject({
    id: z.string().describe('Identifier, which stays the same in later responses.'),
    kind: z.enum(PEER_KINDS).describe('Kind of the identity.'),
    namespace: z.string().describe('Kubernetes namespace; empty if there is none.'),
    name: z
      .string()
      .describe(
        'Name of the Service, workload, Pod, node or network namespace, or the configured name if the kind is `external`; otherwise, if the kind is `external` or `unknown`, the first name under which Pods have resolved the address, and how many others there are: `api.example (+1)`; empty if there is none.',
      ),
    zone: z.string().nullable().describe('Zone; null if it is unknown, or if there are several.'),
    services: z
      .array(z.string())
      .readonly()
      .describe('Services that are merged with this workload, because all of their known Pods belong to it.'),
    local: z.boolean().describe('Whether any part of it runs on this node.'),
  })
  .readonly();
export type MapNode = z.infer<typeof NODE>;

const EDGE = z
  .strictObject({
    id: z.string().describe('Identifier, which stays the same in later responses.'),
    source: z.string().describe('Identifier of the client.'),
    target: z.string().describe('Identifier of the server.'),
    port: z
      .int()
      .min(0)
      .max(65_535)
      .nullable()
      .describe('Port of the server; null for all ports that the kernel assigns to clients.'),
    protocol: z
      .enum(EDGE_PROTOCOLS)
      .describe(
        'Transport protocol. UDP has no connections, so only the bytes and datagrams of its edges are counted.',
      ),
    connections: count().describe('Connections that were established.'),
    open: count().describe('Sockets that are connected, being connected or being closed.'),
    failed: z
      .partialRecord(z.enum(FLOW_FAILURES), count())
      .readonly()
      .describe('Connections that were never established, by cause. Contains only causes that occurred.'),
    sentBytes: count().describe('Payload bytes from the client to the server.'),
    receivedBytes: count().describe('Payload bytes from the server to the client.'),
    sentDatagrams: count().describe('UDP datagrams that the client sent.'),
    receivedDatagrams: count().describe('UDP datagrams that the client received.'),
    sentSegments: count().describe('Segments that the ends on this node sent, including retransmitted ones.'),
    retransmittedSegments: count().describe('Segments that the ends on this node retransmitted.'),
    roundTripSeconds: z
      .number()
      .min(0)
      .nullable()
      .describe('Mean of the round-trip times that the ends on this node measured; null if none was measured.'),
    roundTripCount: count().describe(
      'Number of round-trip times that the ends on this node measured: one when a connection closes, and one at each collection while it is in use.',
    ),
    requests: REQUEST_TOTALS.nullable().describe(
      'Requests over this edge that have ended, each counted once; null if the probes `http` and `dns` have counted none.',
    ),
    seenBy: z.enum(SEEN_BY).describe('End of the connections that is on this node.'),
    crossZone: z.boolean().nullable().describe('Whether any of the traffic crosses zones; null if a zone is unknown.'),
  })
  .readonly();
export type MapEdge = z.infer<typeof EDGE>;

/** Response body of `/api/v1/map`. */
export const MAP_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    collectedAt: time().describe('When the totals were collected.'),
    nodes: z.array(NODE).readonly().describe('Ends of the edges, by identity.'),
    edges: z
      .array(EDGE)
      .readonly()
      .describe(
        'Totals of TCP connections and UDP datagrams by protocol, identities of both ends, and port, since the probe was first enabled, worst first. A connection with both ends on this node is counted in a single edge. Connections of a Pod to itself are left out.',
      ),
    omittedEdges: count().describe('Number of edges that were omitted because of a limit.'),
    unknownShare: z
      .strictObject({
        bytes: share().describe('Fraction of the bytes.'),
        connections: share().describe('Fraction of the connections.'),
        edges: share().describe('Fraction of the edges.'),
      })
      .readonly()
      .describe('Fractions, from 0 to 1, of edges with an unknown end.'),
    udp: z.enum(SHOWN_ON_MAP).describe('`off` if the probe `udpflow` is disabled, so that UDP and QUIC have no edges.'),
    dnsNames: z
      .enum(SHOWN_ON_MAP)
      .describe('`off` if the probe `dns` is disabled, so that peers outside have no names by DNS.'),
    restRequests: count().describe('Requests that have ended and are not part of any edge.'),
    restBytes: count().describe(
      'Payload bytes, in both directions, of connections and datagrams that are not part of any edge.',
    ),
  })
  .readonly();
export type MapReport = z.infer<typeof MAP_REPORT>;
