import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';

const NANOSECONDS_PER_MS = 1e6;
/** Matches the date of an RFC 3339 timestamp. Date.parse() also accepts other strings, such as `10`. */
const DATE = /^\d{4}-\d\d-\d\d/;

/**
 * Parses a time, given either in RFC 3339 or as an age such as `10m`. Returns milliseconds since 1970, or NaN if the
 * text is neither.
 */
export function parseSince(text: string, nowMs: number): number {
  const age = parseDuration(text);
  if (age !== undefined) return nowMs - age / NANOSECONDS_PER_MS;
  return DATE.test(text) ? Date.parse(text) : Number.NaN;
}

const twice = ({ path }: { readonly path?: PropertyKey[] | undefined }) =>
  `${String(path?.at(-1))} is given more than once; give probe=a,b for several`;

const text = () => z.string({ error: twice });

/** Query parameters of `/api/v1/events`. Each of them may be given at most once. */
export const EVENTS_QUERY = z.strictObject({
  probe: text().exactOptional().describe('Names of probes, separated by commas.'),
  type: text().exactOptional().describe('Types of events, separated by commas.'),
  namespace: text().exactOptional().describe('Namespace of the Pod.'),
  pod: text()
    .exactOptional()
    .describe('Name of the Pod; includes packets that the node dropped on their way from or to the Pod.'),
  connectionId: text().exactOptional().describe('`connectionId` of the events; several are separated by commas.'),
  since: text()
    .refine((since) => !Number.isNaN(parseSince(since, 0)), {
      error: ({ input }) => `since: ${input} is neither a duration (10m) nor a time (RFC 3339)`,
    })
    .exactOptional()
    .describe('Time of the oldest event: `30s`, `10m` or `2h` ago, or a time in RFC 3339.'),
  last: text()
    .regex(/^\d{1,6}$/, { error: ({ input }) => `last: ${input} is not a number of events` })
    .exactOptional()
    .describe('Maximum number of past events to return; the newest are chosen.'),
  follow: text()
    .refine((follow) => ['true', 'false'].includes(follow), {
      error: ({ input }) => `follow: ${input} is neither true nor false`,
    })
    .exactOptional()
    .describe(
      '`true` continues with new events, the default for server-sent events; `false` ends after the past events.',
    ),
});
export type EventsQuery = z.infer<typeof EVENTS_QUERY>;
