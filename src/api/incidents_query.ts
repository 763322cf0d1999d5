import * as z from 'zod';
import { EVENTS_QUERY } from './events_query.ts';
import { INCIDENT_CAUSES } from './words.ts';

const { namespace, pod, since, last, follow } = EVENTS_QUERY.shape;

const selection = {
  namespace: namespace.unwrap().exactOptional().describe('Namespace of the Pod, of the client or of the server.'),
  pod: pod.unwrap().exactOptional().describe('Name of the Pod, of the client or of the server.'),
  cause: z
    .enum(INCIDENT_CAUSES, {
      error: ({ input }) => `cause: ${String(input)} is not a cause; there are: ${INCIDENT_CAUSES.join(', ')}`,
    })
    .exactOptional()
    .describe('Cause of the incidents.'),
  since: since.unwrap().exactOptional().describe('Time before which an incident must not have had its last event.'),
};

/** Query parameters of `/api/v1/incidents`. Each of them may be given at most once. */
export const INCIDENTS_QUERY = z.strictObject(selection);
export type IncidentsQuery = z.infer<typeof INCIDENTS_QUERY>;

/** Query parameters of `/api/v1/incidents/stream`. Each of them may be given at most once. */
export const INCIDENT_STREAM_QUERY = z.strictObject({
  ...selection,
  last: last.unwrap().exactOptional().describe('Maximum number of past records to return; the newest are chosen.'),
  follow,
});
