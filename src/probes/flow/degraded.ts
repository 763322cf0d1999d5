import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { parsePercent } from '#core/percent.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import type { Thresholds } from '#probe/tcp_ends_use.ts';

export const DEGRADED_EVENTS = defineEvents({
  connection_degraded: {
    help: 'A TCP connection ended after reaching a threshold: many retransmissions or, if these thresholds are set, a receiver that read too slowly or a long round-trip time.',
    severity: 'warning',
    equalBy: ['role'],
    client: ({ role }) => (role === 'client' ? 'src' : 'dst'),
    fields: {
      role: { type: 'string', help: 'Role of the Pod: client or server.' },
      sentBytes: { type: 'number', help: 'Payload bytes sent.' },
      receivedBytes: { type: 'number', help: 'Payload bytes received.' },
      sentSegments: { type: 'number', help: 'Segments sent, including retransmissions.' },
      retransmittedSegments: { type: 'number', help: 'Segments retransmitted.' },
      receiverLimited: {
        type: 'number',
        help: 'Fraction (0 to 1) of the time with data to send during which the receive window of the other end was closed.',
      },
      roundTripSeconds: { type: 'number', help: 'Smoothed round-trip time when the connection ended.', optional: true },
      minRoundTripSeconds: { type: 'number', help: 'Minimum round-trip time over the last minutes.', optional: true },
    },
  },
});

const NANOSECONDS = 1e-9;
const ROUND_TRIP_MAX_NS = 60e9;
const SEGMENTS = 100;
const SEGMENTS_MAX = 1_000_000;

const SHARE = z
  .custom<string>(
    (value) => typeof value === 'string' && (parsePercent(value) ?? 0) > 0 && (parsePercent(value) ?? 2) <= 1,
    'a percentage above 0% up to 100%, like 5%',
  )
  .transform((text) => parsePercent(text));

const ROUND_TRIP = z
  .custom<string>(
    (value) =>
      typeof value === 'string' &&
      (parseDuration(value) ?? 0) >= 1_000 &&
      (parseDuration(value) ?? 0) <= ROUND_TRIP_MAX_NS,
    'a duration from 1us to 60s, like 200ms',
  )
  .transform((text) => (parseDuration(text) ?? 0) * NANOSECONDS);

export const THRESHOLD_OPTION = z
  .prefault(
    z.strictObject({
      retransmits: SHARE.prefault('5%').describe('Fraction of the sent segments that were retransmissions.'),
      // A program that reads in pace with its own work keeps the window closed for most of the time, and has no problem.
      receiverLimited: SHARE.optional().describe(
        'Fraction of the time with data to send during which the receive window of the other end was closed. Not checked if unset.',
      ),
      roundTrip: ROUND_TRIP.optional().describe('Smoothed round-trip time. Not checked if unset.'),
      segments: z
        .int()
        .min(1)
        .max(SEGMENTS_MAX)
        .default(SEGMENTS)
        .describe('Minimum number of sent segments. Connections with fewer segments are not checked.'),
    }),
    {},
  )
  .describe('A `connection_degraded` event is sent for each connection that reaches one of these thresholds.');

export function thresholdsOf(option: z.output<typeof THRESHOLD_OPTION>): Thresholds {
  const { retransmits, receiverLimited, roundTrip, segments } = option;
  return { retransmits, receiverLimited, roundTripSeconds: roundTrip, segments };
}

/** Returns the share of the time with data to send during which the receive window of the peer was closed. */
export function receiverLimitedShare({ counts }: Pick<SocketEnd, 'counts'>): number {
  const all = counts.busy + counts.receiver_limited + counts.send_buffer_limited;
  return all === 0 ? 0 : counts.receiver_limited / all;
}

export function degradedEvent(end: SocketEnd): EventBody<(typeof DEGRADED_EVENTS)['connection_degraded']> {
  const { timeNs, netns, src, dst, protocol, role, counts, roundTripSeconds, minRoundTripSeconds } = end;
  const limited = receiverLimitedShare(end);
  const retransmitted = `${counts.retransmitted_segments} of ${counts.sent_segments} segments were retransmissions`;
  const waited = `the window of the receiver was closed for ${Math.round(100 * limited)} % of the time`;
  return {
    timeNs,
    netns,
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    protocol,
    fields: {
      role,
      sentBytes: counts.sent_bytes,
      receivedBytes: counts.received_bytes,
      sentSegments: counts.sent_segments,
      retransmittedSegments: counts.retransmitted_segments,
      receiverLimited: limited,
      ...(roundTripSeconds === undefined ? {} : { roundTripSeconds }),
      ...(minRoundTripSeconds === undefined ? {} : { minRoundTripSeconds }),
    },
    message: `The connection from ${src} to ${dst} was degraded: ${retransmitted}, and ${waited}.`,
  };
}
