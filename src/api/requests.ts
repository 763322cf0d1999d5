import * as z from 'zod';
import { PEER } from './events.ts';
import { dnsNames, kernelTime } from './fields.ts';
import { FLOW_ROLES } from './words.ts';

/** Why a request got no complete response. */
const REQUEST_CAUSE = z.enum(['closed', 'client_reset', 'server_reset', 'goaway']);
export type RequestCause = z.infer<typeof REQUEST_CAUSE>;

const port = () => z.int().min(0).max(65_535);

const RECORD = z.strictObject({
  time: kernelTime().describe(
    'When the response began or, without a response, when the connection ended, according to the clock of the kernel.',
  ),
  probe: z.string().describe('Probe that created the record.'),
  node: z.string().describe('Name of the node.'),
  netns: z
    .string()
    .regex(/^\d{0,20}$/)
    .describe('Cookie of the network namespace; empty if it is unknown.'),
  namespace: z.string().nullable().describe('Namespace of the Pod; empty if there is none, null if it is unknown.'),
  pod: z
    .string()
    .nullable()
    .describe('Name of the Pod, container, namespace or process; empty for the node, null if it is unknown.'),
  src: z.string().describe('Address of the client.'),
  srcPort: port().describe('Port of the client.'),
  dst: z.string().describe('Address of the server.'),
  dstPort: port().describe('Port of the server.'),
  peer: PEER.exactOptional().describe('Owner of the address of the other end; absent if it is unknown.'),
  dnsNames: dnsNames(),
  role: z.enum(FLOW_ROLES).describe('Role of the Pod: `client` sent the request, `server` answered it.'),
  method: z.string().describe('Method of the request; `other` for all but those of RFC 9110 and PATCH.'),
  path: z
    .string()
    .nullable()
    .describe(
      'Path without the query, in which segments that look like identifiers are replaced by `*`, or the method of a gRPC call, such as `/shop.Cart/Get`; null if it is unknown, or if paths are not shown.',
    ),
  status: z.int().nullable().describe('Status code; null if there was no response, or if it is unknown.'),
  grpcCode: z
    .string()
    .nullable()
    .describe(
      'Code of a gRPC call by its name, such as `UNAVAILABLE`; `none` if it ended without a code, `reset` if one end has reset the stream; null for other requests.',
    ),
  cause: REQUEST_CAUSE.nullable().describe(
    'Why there was no complete response. `closed`: the connection ended; `client_reset` or `server_reset`: this end has reset the stream of HTTP/2; `goaway`: the server refused the request because it is shutting down the connection. Otherwise null.',
  ),
  failed: z
    .boolean()
    .describe(
      'Whether the status is 500 to 599, the code of gRPC is UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE or DATA_LOSS, or there was no complete response.',
    ),
  seconds: z
    .number()
    .min(0)
    .describe(
      'Seconds from the first byte of the request to the first byte of the response or, without a response, to the end of the connection or of the stream.',
    ),
  networkSeconds: z
    .number()
    .min(0)
    .nullable()
    .describe(
      'Part of `seconds` that the request and the response were between the sockets of client and server; null unless this is the record of a client whose server is on the same node.',
    ),
  traceId: z
    .string()
    .nullable()
    .describe(
      'ID of the trace from the headers of the request: `traceparent`, else `b3` or `X-B3-TraceId`, else `sw8`, else `X-Request-ID`; null if there is none.',
    ),
  message: z.string().describe('The record as a sentence.'),
});

/** A record of the kind `request`. It describes one HTTP request, as seen by one of its ends. */
export const REQUEST_RECORD = RECORD.readonly();
export type RequestRecord = z.infer<typeof REQUEST_RECORD>;

/** Fields of a record that a client shows on one line. Unknown fields are accepted, as the agent may be of another version. */
export const REQUEST_SUMMARY = RECORD.pick({
  time: true,
  namespace: true,
  pod: true,
  failed: true,
  networkSeconds: true,
  traceId: true,
  message: true,
}).strip();
export type RequestSummary = z.infer<typeof REQUEST_SUMMARY>;
