import * as z from 'zod';
import { count } from './fields.ts';
import { REQUEST_PROTOCOLS } from './words.ts';

/** Number of buckets for durations, including the one without an upper bound. */
export const REQUEST_BUCKETS = 9;

/** Totals of requests that have ended. */
export const requestTotals = () => ({
  requests: count().describe('Requests that have ended.'),
  failed: count().describe(
    'Requests that were answered with an error of the server (an HTTP status from 500 to 599, a DNS response code other than NOERROR and NXDOMAIN), or not at all.',
  ),
  declined: count().describe(
    'Requests that were answered, but not with what was asked for: an HTTP status from 400 to 499, or NXDOMAIN.',
  ),
  unread: count().describe('Requests whose answer was not seen, or could not be assigned to them.'),
  seconds: z.number().min(0).describe('Sum of the measured durations in seconds.'),
  durations: z
    .array(count())
    .length(REQUEST_BUCKETS)
    .readonly()
    .describe(
      'Answered requests by their duration to the first byte of the answer: up to 256 µs, four times as much for each further bucket, and any longer duration for the last one.',
    ),
});

export const REQUEST_TOTALS = z.strictObject(requestTotals()).readonly();
export type RequestNumbers = z.infer<typeof REQUEST_TOTALS>;

export const requestProtocol = () =>
  z.enum(REQUEST_PROTOCOLS).describe('Protocol of the requests: HTTP/1.x, HTTP/2 with gRPC, or DNS over UDP or TCP.');
