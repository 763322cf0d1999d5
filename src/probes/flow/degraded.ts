import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { parsePercent } from '#core/percent.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import type { Thresholds } from '#probe/tcp_ends_use.ts';

export const DEGRADED_EVENTS = defineEvents({
  connection_degraded: {
    help: 'A TCP connection has ended that was worse than a threshold: many retransmissions, or a receiver that did not read.',
    severity: 'warning',
    equalBy: ['role'],
    client: ({ role }) => (role === 'client' ? 'src' : 'dst'),
    fields: {
      role: { type: 'string', help: 'Side of the Pod: client or server.' },
      sentBytes: { type: 'number', help: 'Bytes of payload that were sent.' },
      receivedBytes: { type: 'number', help: 'Bytes of payload that were received.' },
      sentSegments: { type: 'number', help: 'Segments that were sent, retransmissions included.' },
      retransmittedSegments: { type: 'number', help: 'Segments that were sent again.' },
      receiverLimited: {
        type: 'number',
        help: 'Share of the time with data to send in which the window of the receiver was closed: 0 to 1.',
      },
      roundTripSeconds: { type: 'number', help: 'Smoothed round-trip time at the end.', optional: true },
      minRoundTripSeconds: { type: 'number', help: 'Shortest round-trip time of the last minutes.', optional: true },
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
      retransmits: SHARE.prefault('5%').describe('Share of retransmissions among the sent segments.'),
      receiverLimited: SHARE.prefault('20%').describe(
        'Share of the time with data to send in which the window of the receiver was closed.',
      ),
      roundTrip: ROUND_TRIP.optional().describe('Smoothed round-trip time; without it, none is too long.'),
      segments: z
        .int()
        .min(1)
        .max(SEGMENTS_MAX)
        .default(SEGMENTS)
        .describe('Number of sent segments below which a connection is not judged.'),
    }),
    {},
  )
  .describe('An event `connection_degraded` is sent for each connection that reaches one of these.');

export function thresholdsOf(option: z.output<typeof THRESHOLD_OPTION>): Thresholds {
  const { retransmits, receiverLimited, roundTrip, segments } = option;
  return { retransmits, receiverLimited, roundTripSeconds: roundTrip, segments };
}

/** Returns the share of the time with data to send in which the receiver's window was closed. */
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
