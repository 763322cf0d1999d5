import * as z from 'zod';
import { PEER } from './events.ts';
import { count, kernelTime } from './fields.ts';
import { INCIDENT_CAUSES, INCIDENT_STATES, SEVERITIES } from './words.ts';

/** Record of the kind `incident`: events that have the same cause, as one line. */
export const INCIDENT = z
  .strictObject({
    time: kernelTime().describe('When the last of the events happened, according to the clock of the kernel.'),
    type: z.literal('incident').describe('`incident`.'),
    id: z.string().describe('ID of the incident. All records of an incident have the same.'),
    state: z.enum(INCIDENT_STATES).describe('`open`, or `ended` after no event has followed for half a minute.'),
    cause: z.enum(INCIDENT_CAUSES).describe('Cause that explains most of the events.'),
    severity: z.enum(SEVERITIES).describe('Highest severity of the events.'),
    node: z.string().describe('Name of the node.'),
    namespace: z
      .string()
      .nullable()
      .describe('Namespace of the Pod in which the cause was seen; empty if there is none, null if it is unknown.'),
    pod: z
      .string()
      .nullable()
      .describe('Name of that Pod, container, namespace or process; empty for the node, null if it is unknown.'),
    connectionIds: z
      .array(z.string())
      .readonly()
      .describe('`connectionId` of the events. A client of a Service has two: before and after translation.'),
    client: PEER.exactOptional().describe('Owner of the address of the client; absent if it is unknown.'),
    server: PEER.exactOptional().describe('Owner of the address of the server; absent if it is unknown.'),
    src: z.string().describe('Address of the client.'),
    dst: z.string().describe('Address and port of the server.'),
    protocol: z.string().describe('Protocol in lower case, such as `tcp` or `udp`.'),
    count: count().describe('Number of events.'),
    events: z.record(z.string(), count()).readonly().describe('Number of events by type.'),
    ports: count().describe('Number of client ports, which is that of the connections. It stops growing at 256.'),
    firstTime: kernelTime().describe('When the first of the events happened.'),
    lastTime: kernelTime().describe('When the last of the events happened.'),
    policy: z
      .string()
      .exactOptional()
      .describe('With `events.policies`: the policy that denies the connection and why, or that none does.'),
    message: z.string().describe('The incident as a sentence.'),
  })
  .readonly();
export type Incident = z.infer<typeof INCIDENT>;

/** Response body of `/api/v1/incidents`. */
export const INCIDENTS_REPORT = z
  .strictObject({
    open: count().describe('Number of open incidents.'),
    incidents: z
      .array(INCIDENT)
      .readonly()
      .describe('Incidents: those that are open, and then those that have ended, the latest first.'),
  })
  .readonly();
export type IncidentsReport = z.infer<typeof INCIDENTS_REPORT>;

/** Fields that a client shows on one line. Other causes are accepted, because the agent may have another version. */
export const INCIDENTS_SUMMARY = z.object({
  incidents: z.array(
    z.object({
      time: z.string(),
      firstTime: z.string(),
      state: z.string(),
      cause: z.string(),
      severity: z.string(),
      message: z.string(),
    }),
  ),
});
export type IncidentsSummary = z.infer<typeof INCIDENTS_SUMMARY>;
