import * as z from 'zod';
import { count, kernelTime, labels } from './fields.ts';
import { PEER_KINDS, SEVERITIES } from './words.ts';

const PEER = z
  .strictObject({
    kind: z.enum(PEER_KINDS).describe('Kind of the peer; `external` if it is outside of the cluster.'),
    namespace: z.string().describe('Namespace of the peer; empty if it has none.'),
    name: z.string().describe('Name of the peer; empty for `external`.'),
    ip: z.string().describe('IP address of the peer.'),
  })
  .readonly();
/** The remote end of the connection that a packet belongs to. */
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
  peer: PEER.exactOptional().describe('The other end of the connection.'),
  src: z
    .string()
    .exactOptional()
    .describe('Source: `10.0.0.1:53` or `[::1]:53`; only the address if there is no port.'),
  dst: z.string().exactOptional().describe('Destination, in the same form.'),
  protocol: z
    .string()
    .exactOptional()
    .describe('Protocol in lower case, such as `tcp`, `udp` or `icmp`; the frame type if it is not IP, such as `arp`.'),
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

/** A field that is specific to one type of events. */
export interface OwnField {
  readonly type: keyof typeof VALUES;
  /** Whether the field is absent if its value is unknown. */
  readonly optional?: boolean;
}

/** Returns the schema of one type of events. It rejects undeclared fields. */
export function eventOf(fields: Readonly<Record<string, OwnField>>): z.ZodType<EventRecord> {
  const own = Object.entries(fields).map(([name, { type, optional }]) => [
    name,
    optional === true ? VALUES[type].exactOptional() : VALUES[type],
  ]);
  return ENVELOPE.extend(Object.fromEntries(own)).readonly() as unknown as z.ZodType<EventRecord>;
}
