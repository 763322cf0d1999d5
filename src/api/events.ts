import * as z from 'zod';
import { count, kernelTime, labels } from './fields.ts';
import { PEER_KINDS, SEVERITIES } from './words.ts';

const PEER = z
  .strictObject({
    kind: z.enum(PEER_KINDS).describe('Kind of the peer; `external`: outside of the cluster.'),
    namespace: z.string().describe('Namespace of the peer; empty where it has none.'),
    name: z.string().describe('Name of the peer; empty: `external`.'),
    ip: z.string().describe('Address of the peer.'),
  })
  .readonly();
/** The peer of a packet. */
export type Peer = z.infer<typeof PEER>;

/** The fields that events of all types have. */
const ENVELOPE = z.strictObject({
  time: kernelTime().describe('When the event happened, by the clock of the kernel.'),
  probe: z.string().describe('Probe that saw the event.'),
  type: z.string().describe('Type of the event.'),
  severity: z.enum(SEVERITIES).describe('Severity of the event.'),
  node: z.string().describe('Name of the node.'),
  netns: z
    .string()
    .regex(/^\d{0,20}$/)
    .describe('Cookie of the network namespace; empty where the event concerns the machine as a whole.'),
  namespace: z.string().nullable().describe('Namespace of the Pod; empty where there is none; null: unknown.'),
  pod: z
    .string()
    .nullable()
    .describe(
      'Name of the Pod, container, namespace or process; empty: the node, or the whole machine; null: unknown.',
    ),
  labels: labels().exactOptional().describe('Labels of the Pod that are configured.'),
  peer: PEER.exactOptional().describe('The other end of the connection.'),
  src: z.string().exactOptional().describe('Source: `10.0.0.1:53`, `[::1]:53`; without a port where there is none.'),
  dst: z.string().exactOptional().describe('Destination, likewise.'),
  protocol: z
    .string()
    .exactOptional()
    .describe('Protocol in lower case: `tcp`, `udp`, `icmp`, …; for a frame that is not IP its type: `arp`.'),
  message: z.string().describe('A sentence for people.'),
  count: count()
    .min(2)
    .exactOptional()
    .describe('Number of equal events that this one stands for, including itself; absent: one.'),
  ports: z
    .array(z.int().min(0).max(65_535))
    .readonly()
    .exactOptional()
    .describe('With `count`: ports of the client, if they were not all the same; the first 16.'),
  morePorts: count()
    .min(1)
    .exactOptional()
    .describe('With `ports`: number of further ports; a lower bound for an event that stands for very many.'),
  firstTime: kernelTime().exactOptional().describe('With `count`: when the first of them happened.'),
  lastTime: kernelTime().exactOptional().describe('With `count`: when the last of them happened.'),
});

/** An event of `/api/v1/events`, and of every sink: a flat object. The fields of its type are beside those of all. */
export const EVENT = ENVELOPE.loose().readonly();
export type EventRecord = z.infer<typeof EVENT>;

/**
 * The fields of an event that a client shows in a line. An agent of another version may have other fields beside these,
 * and other severities.
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

/** A field that only events of one type have. */
export interface OwnField {
  readonly type: keyof typeof VALUES;
  /** Left out where it is not known. */
  readonly optional?: boolean;
}

/** Schema of an event of one type, with no other fields than those that it declares. */
export function eventOf(fields: Readonly<Record<string, OwnField>>): z.ZodType<EventRecord> {
  const own = Object.entries(fields).map(([name, { type, optional }]) => [
    name,
    optional === true ? VALUES[type].exactOptional() : VALUES[type],
  ]);
  return ENVELOPE.extend(Object.fromEntries(own)).readonly() as unknown as z.ZodType<EventRecord>;
}
