import { type EdgeCounts, roundTripOf } from '#api/flow_rates.ts';
import { durationQuantile, failedRequests, type RequestCounts } from '#api/request_rates.ts';
import {
  DECLINED,
  DECLINED_LEAST,
  EDGE_FAILURES_LEAST,
  EDGE_RETRANSMITS_LEAST,
  FAILED_CONNECTS,
  type Limit,
  REQUEST_ERRORS,
  REQUEST_ERRORS_LEAST,
  REQUEST_TIME,
  RETRANSMITTED,
  ROUND_TRIP,
  ROUND_TRIP_FAR,
} from '#core/limits.ts';
import { retransmittedShare } from '#core/worst_first.ts';
import { percent, seconds } from '../format.ts';

/** Kinds of problems. Each kind has its own icon, so that users need not rely on colours. */
export type TroubleKind = 'refused' | 'denied' | 'timeout' | 'failed' | 'full' | 'lossy' | 'slow' | 'errors';
export type TroubleGrade = 'notice' | 'alert';
/** Quantity by which a problem is detected. */
export type Measure =
  | 'bytes'
  | 'failed'
  | 'retransmitted'
  | 'roundTrip'
  | 'requests'
  | 'requestErrors'
  | 'declined'
  | 'requestTime';

export interface Verdict {
  readonly kind: TroubleKind;
  readonly grade: TroubleGrade;
  readonly text: string;
  readonly measure: Measure;
}

/** Words for the grades, for users who cannot distinguish the colours. */
export const GRADE_WORDS: Readonly<Record<TroubleGrade, string>> = { alert: 'bad', notice: 'worth a look' };

interface Cause {
  readonly kind: TroubleKind;
  readonly words: string;
  /** Explains the cause, and suggests what to check. */
  readonly explanation: string;
  /** Whether such failures also occur in healthy applications. */
  readonly isCommon?: boolean;
}

const CAUSES: ReadonlyMap<string, Cause> = new Map(
  Object.entries<Cause>({
    refused: {
      kind: 'refused',
      words: 'refused',
      explanation:
        'The other end sent a reset. No socket listens on the port, or a firewall rule rejects the connection.',
    },
    timeout: {
      kind: 'timeout',
      words: 'timed out',
      explanation: 'No response came. The host is down, or packets are dropped, for example by a network policy.',
    },
    unreachable: {
      kind: 'failed',
      words: 'unreachable',
      explanation: 'No neighbour has the address, there is no route, or a router refused the packet.',
    },
    given_up: {
      kind: 'failed',
      words: 'given up',
      explanation:
        'The application closed the socket before the connection was established. Clients that try several addresses at once do this, too.',
      isCommon: true,
    },
    no_port: {
      kind: 'failed',
      words: 'without a free port',
      explanation: 'No local port was free. Connections are opened faster than their ports become free again.',
    },
  }),
);
const OTHER_CAUSE: Cause = { kind: 'failed', words: 'failed', explanation: 'The kernel reported another error.' };

/** Cause of attempts whose SYNs were retransmitted until the application gave up, although its peer has never responded. */
const UNANSWERED: Cause = {
  kind: 'timeout',
  words: 'without a response',
  explanation:
    'The application gave up after its SYNs were retransmitted. The host is down, its accept queue is full, or packets are dropped, for example by a network policy.',
};

/** Describes a cause of failed connections. A newer agent may report causes that are unknown to this page. */
export function causeOf(name: string): Cause {
  return CAUSES.get(name) ?? OTHER_CAUSE;
}

/** Returns the causes of failed connections with their counts, the most frequent first. */
export function causesIn({ failed }: Pick<EdgeCounts, 'failed'>): (readonly [name: string, count: number])[] {
  return Object.entries(failed).sort(([, a], [, b]) => b - a);
}

/**
 * Describes the most frequent cause of failed connections.
 * @param unanswered failures of which events report that SYNs were retransmitted
 */
export function mainCauseOf(counts: EdgeCounts, unanswered = 0): Cause {
  const [name = ''] = causesIn(counts)[0] ?? [];
  // An older connection may still transfer data, so the counts alone do not always prove it.
  const isUnanswered =
    (hasNoResponse(counts) && counts.retransmittedSegments >= counts.failures) ||
    (counts.connections === 0 && unanswered > 0);
  return name === 'given_up' && isUnanswered ? UNANSWERED : causeOf(name);
}

/** Returns whether no connection was established and no payload was transferred, so that all segments were SYNs. */
function hasNoResponse({ connections, bytes }: EdgeCounts): boolean {
  return connections + bytes === 0;
}

/** Returns the fraction of connection attempts that failed; null if there were no attempts. */
export function failedShare({ failures, connections }: EdgeCounts): number | null {
  return failures + connections === 0 ? null : failures / (failures + connections);
}

/** Returns the fraction of sent segments that were retransmitted; null if none were sent. */
export function lostShare(counts: EdgeCounts): number | null {
  return counts.sentSegments === 0 ? null : retransmittedShare(counts);
}

/**
 * Returns a verdict for each measure that indicates a problem, in order of importance.
 * @param unanswered failures of which events report that SYNs were retransmitted
 */
export function troublesOf(counts: EdgeCounts, open: number, isFar: boolean, unanswered = 0): Verdict[] {
  return [failing(counts, unanswered), silent(counts, open), lossy(counts), slow(counts, isFar)].filter(
    (verdict) => verdict !== undefined,
  );
}

/** Returns the worst problem; undefined if there is none. */
export function worstOf(troubles: readonly Verdict[]): Verdict | undefined {
  return troubles.find(({ grade }) => grade === 'alert') ?? troubles[0];
}

function failing(counts: EdgeCounts, unanswered: number): Verdict | undefined {
  const share = failedShare(counts);
  if (share === null || share < FAILED_CONNECTS.notice) return undefined;
  const { kind, words, isCommon = false } = mainCauseOf(counts, unanswered);
  const isBad = share >= FAILED_CONNECTS.alert && counts.failures >= EDGE_FAILURES_LEAST && !isCommon;
  return { kind, grade: isBad ? 'alert' : 'notice', text: `${percent(share)} ${words}`, measure: 'failed' };
}

/**
 * Detects connections without any response. A connection attempt whose packets are dropped takes minutes to fail. Until
 * then, retransmitted SYNs are the only evidence. The same applies to a connection whose other end has disappeared.
 */
function silent(counts: EdgeCounts, open: number): Verdict | undefined {
  const { failures, retransmittedSegments: again } = counts;
  if (open === 0 || !hasNoResponse(counts) || failures > 0 || again === 0) return undefined;
  return { kind: 'timeout', grade: again > 1 ? 'alert' : 'notice', text: 'no response', measure: 'retransmitted' };
}

function lossy(counts: EdgeCounts): Verdict | undefined {
  // Retransmitted SYNs of failed attempts mean that nobody responds, and say nothing about the path.
  if (counts.failures > 0 && hasNoResponse(counts)) return undefined;
  const share = lostShare(counts);
  const grade = gradeOf(share, RETRANSMITTED);
  if (share === null || grade === undefined || counts.retransmittedSegments < EDGE_RETRANSMITS_LEAST) return undefined;
  return { kind: 'lossy', grade, text: `${percent(share)} retransmitted`, measure: 'retransmitted' };
}

function slow(counts: EdgeCounts, isFar: boolean): Verdict | undefined {
  const time = roundTripOf(counts);
  const grade = gradeOf(time, isFar ? ROUND_TRIP_FAR : ROUND_TRIP);
  if (time === null || grade === undefined) return undefined;
  return { kind: 'slow', grade, text: `${seconds(time)} round trip`, measure: 'roundTrip' };
}

/**
 * Returns a verdict for each measure of requests that indicates a problem, in order of importance.
 * @param isDns whether the requests are queries of DNS
 */
export function requestTroublesOf(counts: RequestCounts, isDns: boolean): Verdict[] {
  return [erring(counts), declined(counts, isDns), answeringLate(counts)].filter((verdict) => verdict !== undefined);
}

function rounded(share: number): string {
  return percent(Number(share.toPrecision(2)));
}

function erring(counts: RequestCounts): Verdict | undefined {
  const share = failedRequests(counts);
  const grade = gradeOf(share, REQUEST_ERRORS);
  if (share === null || grade === undefined) return undefined;
  const isBad = grade === 'alert' && counts.failed >= REQUEST_ERRORS_LEAST;
  return {
    kind: 'errors',
    grade: isBad ? 'alert' : 'notice',
    text: `${rounded(share)} errors`,
    measure: 'requestErrors',
  };
}

function declined({ requests, declined: refusals }: RequestCounts, isDns: boolean): Verdict | undefined {
  const share = requests === 0 ? null : refusals / requests;
  const grade = gradeOf(share, DECLINED);
  if (share === null || grade === undefined || refusals < DECLINED_LEAST) return undefined;
  const text = `${rounded(share)} ${isDns ? 'NXDOMAIN' : 'status 4xx'}`;
  return { kind: 'errors', grade, text, measure: 'declined' };
}

function answeringLate(counts: RequestCounts): Verdict | undefined {
  const time = durationQuantile(counts, 0.99);
  const grade = gradeOf(time, REQUEST_TIME);
  if (time === null || grade === undefined) return undefined;
  return { kind: 'slow', grade, text: `p99 ${seconds(Number(time.toPrecision(2)))}`, measure: 'requestTime' };
}

function gradeOf(value: number | null, { notice, alert }: Limit): TroubleGrade | undefined {
  if (value === null || value < notice) return undefined;
  return value >= alert ? 'alert' : 'notice';
}

/**
 * Networks within a cluster or data centre: RFC 1918, RFC 6598 and RFC 3927 for IPv4; RFC 4193 and link-local addresses
 * for IPv6; loopback.
 */
const NEAR =
  /^(?:10\.|127\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:|::1$)/;

/** Returns whether an address is public. Round trips to public addresses may be long because of the distance. */
export function isFarAddress(address: string): boolean {
  return !NEAR.test(address);
}
