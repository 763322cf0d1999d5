import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { FLOW_STREAM_QUERY } from './flows_query.ts';

const { namespace, pod, role, port, since, last, follow } = FLOW_STREAM_QUERY.shape;

const once = ({ path }: { readonly path?: PropertyKey[] | undefined }) =>
  `${String(path?.at(-1))} is given more than once; give it once`;

/** Query parameters of `/api/v1/requests/stream`. Each of them may be given at most once. */
export const REQUEST_STREAM_QUERY = z.strictObject({
  namespace,
  pod,
  peer: z
    .string({ error: once })
    .exactOptional()
    .describe('Address of the other end, or its name: that of the Pod, workload, Service, node or network.'),
  role,
  port,
  failed: FLOW_STREAM_QUERY.shape.failed.unwrap().exactOptional().describe('If `true`, only failed requests.'),
  slow: z
    .string({ error: once })
    .refine((text) => parseDuration(text) !== undefined, {
      error: ({ input }) => `slow: ${String(input)} is not a duration; give one like 200ms`,
    })
    .exactOptional()
    .describe(`Only requests that took at least this long, such as \`200ms\`.`),
  traceId: z.string({ error: once }).exactOptional().describe('Only requests with this ID of a trace.'),
  since,
  last,
  follow,
});
export type RequestStreamQuery = z.infer<typeof REQUEST_STREAM_QUERY>;
