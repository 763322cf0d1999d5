import { type EdgeCounts, roundTripOf } from '#api/flow_rates.ts';
import { durationQuantile, type RequestCounts } from '#api/request_rates.ts';
import type { EdgeProtocol } from '#api/words.ts';
import { LOSS } from '#core/limits.ts';
import {
  failedShare,
  lostShare,
  type Measure,
  mainCauseOf,
  requestTroublesOf,
  type TroubleGrade,
  type TroubleKind,
  troublesOf,
  type Verdict,
  worstOf,
} from '../flows/verdict.ts';
import { count, percent, seconds } from '../format.ts';
import type { Signs } from './signs.ts';

/** The worst problem of an edge, with its descriptions for the map. */
export interface Trouble extends Verdict {
  /** Text on the line. It has at most eight characters. */
  readonly short: string;
  /** Sentences about the cause. */
  readonly cause: string;
}

/** Data about an edge that the verdict depends on. */
export interface EdgeFacts {
  /** Growth in the last minute; undefined if it is unknown. */
  readonly counts: EdgeCounts | undefined;
  readonly open: number;
  readonly protocol: EdgeProtocol;
  readonly signs: Signs | undefined;
  /** Whether one end is outside the cluster, where long round trips are normal. */
  readonly isFar: boolean;
  /** Whether the client is outside the cluster and has never connected. Firewalls drop packets of scanners every day. */
  readonly isStranger: boolean;
}

/** Minimum number of dropped packets per minute for an edge to be reported. */
const DROPS_LEAST = 60 * LOSS.notice;
const SAMPLED = 'Events are sampled, so there may be more.';

const OF_REQUESTS: readonly Measure[] = ['requests', 'requestErrors', 'declined', 'requestTime'];

/** Returns the worst problem of an edge; undefined if there is none. */
export function troubleOf(facts: EdgeFacts): Trouble | undefined {
  const worst = worstTrouble(facts);
  if (worst === undefined || facts.protocol === 'tcp' || OF_REQUESTS.includes(worst.measure)) return worst;
  // UDP has no connections, so a chart can show only the bytes.
  return { ...worst, measure: 'bytes' };
}

function worstTrouble({ counts, open, protocol, signs, isFar, isStranger }: EdgeFacts): Trouble | undefined {
  const byEvents = signs === undefined ? [] : [denied(signs, isStranger), queueFull(signs.queueFull)];
  const byCounts =
    counts === undefined
      ? []
      : [
          ...troublesOf(counts, open, isFar, signs?.unanswered),
          ...requestTroublesOf(counts.requests, protocol === 'udp'),
        ];
  const worst = worstOf([...byEvents.filter((one) => one !== undefined), ...byCounts]);
  if (worst === undefined) return signs === undefined ? undefined : dropped(signs);
  if (worst.kind === 'timeout' && signs !== undefined && signs.queueFullBehind > 0)
    return queueFull(signs.queueFullBehind);
  return 'cause' in worst ? (worst as Trouble) : { ...worst, ...textsOf(worst, counts, signs) };
}

function textsOf(
  { kind, measure, text }: Verdict,
  counts: EdgeCounts | undefined,
  signs: Signs | undefined,
): Pick<Trouble, 'short' | 'cause'> {
  if (counts === undefined) return { short: '', cause: '' };
  const { failures, connections, retransmittedSegments, sentSegments } = counts;
  if (measure === 'failed') {
    const attempts = `${count(failures)} of ${count(failures + connections)} connects failed in the last minute.`;
    return {
      short: shortPercent(failedShare(counts)),
      cause: `${attempts} ${mainCauseOf(counts, signs?.unanswered).explanation}`,
    };
  }
  if (measure === 'roundTrip') {
    const mean = roundTripOf(counts) ?? 0;
    return { short: shortSeconds(mean), cause: `The mean round trip of the last minute took ${seconds(mean)}.` };
  }
  if (OF_REQUESTS.includes(measure)) return requestTexts(measure, counts.requests);
  const again = `${count(retransmittedSegments)} of ${count(sentSegments)} segments were retransmitted in the last minute`;
  return kind === 'lossy'
    ? { short: shortPercent(lostShare(counts)), cause: `${again}: packets are lost on the way.` }
    : { short: 'silent', cause: `${text}: ${again}, and nothing came back.` };
}

function requestTexts(measure: Measure, counts: RequestCounts): Pick<Trouble, 'short' | 'cause'> {
  const { requests, failed, declined } = counts;
  if (measure === 'requestTime') {
    const time = durationQuantile(counts, 0.99) ?? 0;
    const cause = `The slowest of 100 requests of the last minute waited ${seconds(time)} for its answer.`;
    return { short: shortSeconds(time), cause };
  }
  const [part, words] =
    measure === 'declined'
      ? [declined, 'were answered with a status from 400 to 499, or with NXDOMAIN']
      : [failed, 'failed: they were answered with an error of the server, or not at all'];
  return {
    short: shortPercent(part / Math.max(requests, 1)),
    cause: `${count(part)} of ${count(requests)} requests of the last minute ${words}.`,
  };
}

function shortPercent(share: number | null): string {
  return percent(Number((share ?? 0).toPrecision(2)));
}

function shortSeconds(value: number): string {
  return seconds(Number(value.toPrecision(2)));
}

function denied({ denied: packets, reasons }: Signs, isStranger: boolean): Trouble | undefined {
  if (packets === 0) return undefined;
  const cause = `A network policy or firewall rule dropped ${packetsText(packets)} in the last minute (${[...reasons].join(', ')}).`;
  return {
    kind: 'denied',
    grade: isStranger ? 'notice' : 'alert',
    text: 'denied by a rule',
    short: 'denied',
    cause: `${cause} ${SAMPLED}`,
    measure: 'failed',
  };
}

function queueFull(refused: number): Trouble | undefined {
  if (refused === 0) return undefined;
  return {
    kind: 'full',
    grade: 'alert',
    text: 'accept queue full',
    short: 'queue',
    cause: `The server accepts too slowly. Its full accept queue refused ${packetsText(refused)} in the last minute.`,
    measure: 'retransmitted',
  };
}

function dropped({ dropped: packets, reasons }: Signs): Trouble | undefined {
  if (packets < DROPS_LEAST) return undefined;
  return {
    kind: 'lossy',
    grade: 'notice',
    text: `${count(packets)} packets dropped`,
    short: 'drops',
    cause: `The kernel dropped ${packetsText(packets)} in the last minute (${[...reasons].join(', ')}). ${SAMPLED}`,
    measure: 'retransmitted',
  };
}

export function packetsText(packets: number): string {
  return `${count(packets)} ${packets === 1 ? 'packet' : 'packets'}`;
}

export type State = TroubleGrade | 'ok';
/** Kind of an edge's line; empty if the edge has no problem. */
export type LineKind = TroubleKind | '';

const RANKS: Readonly<Record<State, number>> = { alert: 0, notice: 1, ok: 2 };

export function stateOf(trouble: Trouble | undefined): State {
  return trouble?.grade ?? 'ok';
}

/** Compares two problems to sort the worse one first. */
export function worseFirst(a: Trouble | undefined, b: Trouble | undefined): number {
  return RANKS[stateOf(a)] - RANKS[stateOf(b)];
}

/** Returns the measure that shows the problem, or the bytes if there is no problem. */
export function measureOf(trouble: Trouble | undefined): Measure {
  return trouble?.measure ?? 'bytes';
}
