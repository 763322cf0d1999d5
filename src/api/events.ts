import * as z from 'zod';
import { count, kernelTime, labels } from './fields.ts';
import { EVENT_PEER_KINDS, POLICY_VERDICTS, SEVERITIES } from './words.ts';

export const PEER = z
  .strictObject({
    kind: z
      .enum(EVENT_PEER_KINDS)
      .describe(
        'Kind of the peer; `external` if it is outside of the cluster, `local` for a network namespace of this machine without Kubernetes.',
      ),
    namespace: z.string().describe('Namespace of the peer; empty if it has none.'),
    name: z
      .string()
      .describe('Name of the peer; for `external`, the name that the configuration gives to its network.'),
    workload: z
      .string()
      .exactOptional()
      .describe('Name of the workload of a Pod, such as its Deployment; absent if it is unknown.'),
    service: z
      .string()
      .exactOptional()
      .describe('Name of the Service that stands for a Pod in metrics, because its workload is unknown.'),
    ip: z.string().describe('IP address of the peer.'),
  })
  .readonly();
/** An owner of an address: the other end of a connection, or one of the ends of a packet. */
export type Peer = z.infer<typeof PEER>;

/** Fields that are common to all types of events. */
const ENVELOPE = z.strictObject({
  time: kernelTime().describe('When the event happened, according to the clock of the kernel.'),
  probe: z.string().describe('Probe that reported the event.'),
  type: z.string().describe('Type of the event.'),
  severity: z.enum(SEVERITIES).describe('Severity of the event.'),
  node: z.string().describe('Name of the node.'),
  netns: z
    .string()
    .regex(/^\d{0,20}$/)
    .describe('Cookie of the network namespace; empty if the event concerns the whole machine.'),
  namespace: z.string().nullable().describe('Namespace of the Pod; empty if there is none, null if it is unknown.'),
  pod: z
    .string()
    .nullable()
    .describe(
      'Name of the Pod, container, namespace or process; empty for the node or the whole machine, null if it is unknown.',
    ),
  labels: labels().exactOptional().describe('Labels of the Pod that the configuration selects.'),
  peer: PEER.exactOptional().describe('The other end of the connection, or the neighbour that did not respond.'),
  srcOwner: PEER.exactOptional().describe(
    'Owner of the source address; only in events of dropped packets. For a packet in a tunnel, `srcOwner`, `dstOwner` and `peer` are the owners of the inner addresses.',
  ),
  dstOwner: PEER.exactOptional().describe('Owner of the destination address; only in events of dropped packets.'),
  src: z
    .string()
    .exactOptional()
    .describe('Source: `10.0.0.1:53` or `[::1]:53`; only the address if there is no port.'),
  dst: z.string().exactOptional().describe('Destination, in the same form.'),
  protocol: z
    .string()
    .exactOptional()
    .describe('Protocol in lower case, such as `tcp`, `udp` or `icmp`; the frame type if it is not IP, such as `arp`.'),
  connectionId: z
    .string()
    .exactOptional()
    .describe(
      'ID that all connections of a client to a port of a server share, in the events of both ends and of all nodes; absent if the event has no ports.',
    ),
  policy: z
    .string()
    .exactOptional()
    .describe(
      'With `events.policies`: the policy that denies the connection and why, or that none does; only if a firewall dropped a packet, or if a policy explains a timeout.',
    ),
  policyVerdict: z
    .enum(POLICY_VERDICTS)
    .exactOptional()
    .describe('With `policy`: the verdict; `none` if no policy selects either end.'),
  policyDirection: z
    .enum(['egress', 'ingress'])
    .exactOptional()
    .describe('With `policy`: `egress` if the policies of the client decide, `ingress` if those of the server do.'),
  policyBy: z
    .array(z.string())
    .readonly()
    .exactOptional()
    .describe('With `policy`: at most eight policies that decide, such as `NetworkPolicy/shop/deny-all`.'),
  policySure: z
    .enum(['seen', 'inferred'])
    .exactOptional()
    .describe('With `policy`: `seen` if the drop of a firewall was seen, `inferred` for a timeout.'),
  message: z.string().describe('The event as a sentence.'),
  count: count()
    .min(2)
    .exactOptional()
    .describe('Number of repeated events that this one stands for, including itself; absent if it is one.'),
  ports: z
    .array(z.int().min(0).max(65_535))
    .readonly()
    .exactOptional()
    .describe('With `count`: the first 16 client ports, if there were several.'),
  morePorts: count()
    .min(1)
    .exactOptional()
    .describe('With `ports`: number of further client ports. It stops growing at a limit.'),
  firstTime: kernelTime().exactOptional().describe('With `count`: when the first of the events happened.'),
  lastTime: kernelTime().exactOptional().describe('With `count`: when the last of the events happened.'),
});

/**
 * An event, as returned by `/api/v1/events` and written by all sinks. It is a flat object with the common fields and
 * the fields of its type.
 */
export const EVENT = ENVELOPE.loose().readonly();
export type EventRecord = z.infer<typeof EVENT>;

/**
 * Fields that a client needs to show an event on one line. Other fields and severities are accepted, because the agent
 * may have a different version.
 */
export const EVENT_SUMMARY = ENVELOPE.pick({
  time: true,
  namespace: true,
  pod: true,
  type: true,
  message: true,
  count: true,
})
  .extend({ severity: z.string() })
  .strip();
export type EventSummary = z.infer<typeof EVENT_SUMMARY>;

const VALUES = { string: z.string(), number: z.number(), strings: z.array(z.string()).readonly() } as const;

/** A field that is specific to one event type. */
export interface OwnField {
  readonly type: keyof typeof VALUES;
  /** Whether the field is absent if its value is unknown. */
  readonly optional?: boolean;
}

/** Returns the schema of one event type. It rejects undeclared fields. */
export function eventOf(fields: Readonly<Record<string, OwnField>>): z.ZodType<EventRecord> {
  const own = Object.entries(fields).map(([name, { type, optional }]) => [
    name,
    optional === true ? VALUES[type].exactOptional() : VALUES[type],
  ]);
  return ENVELOPE.extend(Object.fromEntries(own)).readonly() as unknown as z.ZodType<EventRecord>;
}
