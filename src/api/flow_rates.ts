import { type EdgeNumbers, worstFirst } from '#core/worst_first.ts';
import type { EdgeSummary, FlowsSummary } from './flows.ts';
import { addRequestCounts, NO_REQUESTS, type RequestCounts, requestGrowth } from './request_rates.ts';

/**
 * Growth of the totals that `/api/v1/flows` returns. Both the command line and the web page load this file at run time,
 * so it must not import schemas.
 */

/** Totals of connections. All fields are totals, except the round-trip time, which is a mean. */
export interface FlowTotals {
  readonly connections: number;
  /** Number of failed connections by cause. */
  readonly failed: Readonly<Record<string, number>>;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Number of datagrams sent; undefined for TCP connections. */
  readonly sentDatagrams?: number | undefined;
  readonly receivedDatagrams?: number | undefined;
  readonly sentSegments: number;
  readonly retransmittedSegments: number;
  /** Mean of the measured round-trip times in seconds; null if none was measured. */
  readonly roundTripSeconds: number | null;
  /**
   * Number of measured round-trip times. If undefined, the mean of all measurements stands in for the mean of the
   * period.
   */
  readonly roundTripCount?: number | undefined;
  /** Requests over the edge; null or undefined if none were counted. */
  readonly requests?: RequestCounts | null | undefined;
}

/** Counts of an edge, either in total or since an earlier response. */
export interface EdgeCounts extends EdgeNumbers {
  readonly connections: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly sentDatagrams: number;
  readonly receivedDatagrams: number;
  /** Number of failed connections by cause. Only causes that occurred are included. */
  readonly failed: Readonly<Record<string, number>>;
  /** Number of round-trip times that were measured, and their sum in seconds. */
  readonly roundTrips: { readonly count: number; readonly sumSeconds: number };
  readonly requests: RequestCounts;
}

export interface EdgeRow {
  readonly edge: EdgeSummary;
  /** Undefined if the previous response may have omitted the edge. */
  readonly counts: EdgeCounts | undefined;
}

const MS_PER_SECOND = 1_000;

/** Returns the seconds between the collections that two responses show; 0 if both show the same collection. */
export function secondsBetween(earlier: FlowsSummary, later: FlowsSummary): number {
  return (Date.parse(later.collectedAt) - Date.parse(earlier.collectedAt)) / MS_PER_SECOND;
}

/** Returns the totals of all edges, worst first. */
export function totalsOf({ edges, rest }: FlowsSummary): EdgeRow[] {
  return sorted([...edges, ...rest].map((edge) => ({ edge, counts: growthOf(edge) })));
}

/** Returns the growth of all edges since an earlier response, worst first. */
export function growthBetween(earlier: FlowsSummary, { edges, rest }: FlowsSummary): EdgeRow[] {
  const before = new Map([...earlier.edges, ...earlier.rest].map((edge) => [edgeKey(edge), edge]));
  return sorted(
    [...edges, ...rest].map((edge) => {
      const past = before.get(edgeKey(edge));
      if (past === undefined && earlier.omitted > 0) return { edge, counts: undefined };
      return { edge, counts: growthOf(edge, past) };
    }),
  );
}

/** Returns a string that identifies an edge in the responses of an agent. */
export function edgeKey({
  namespace,
  pod,
  netns,
  role,
  peer,
  port,
}: Pick<EdgeSummary, 'namespace' | 'pod' | 'netns' | 'role' | 'peer' | 'port'>): string {
  return JSON.stringify([namespace, pod, netns, role, peer, port]);
}

const COUNTERS = [
  'connections',
  'sentBytes',
  'receivedBytes',
  'sentDatagrams',
  'receivedDatagrams',
  'sentSegments',
  'retransmittedSegments',
] as const;

/**
 * Returns the growth of totals. If any total has decreased, for example because the agent was restarted, returns the
 * current totals, so that the growth is never negative.
 * @param past earlier totals; undefined to return the totals themselves
 */
export function growthOf(now: FlowTotals, past?: FlowTotals): EdgeCounts {
  const start = past === undefined || hasFallen(now, past) ? undefined : past;
  const grown = (name: (typeof COUNTERS)[number]) => (now[name] ?? 0) - (start?.[name] ?? 0);
  const failed = Object.entries(now.failed)
    .map(([cause, count]) => [cause, count - (start?.failed[cause] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  const [sentBytes, receivedBytes] = [grown('sentBytes'), grown('receivedBytes')];
  return {
    connections: grown('connections'),
    sentBytes,
    receivedBytes,
    sentDatagrams: grown('sentDatagrams'),
    receivedDatagrams: grown('receivedDatagrams'),
    sentSegments: grown('sentSegments'),
    retransmittedSegments: grown('retransmittedSegments'),
    failed: Object.fromEntries(failed),
    failures: failed.reduce((sum, [, count]) => sum + count, 0),
    bytes: sentBytes + receivedBytes,
    roundTrips: measuredSince(now, start),
    requests: requestGrowth(now.requests, past?.requests),
  };
}

function hasFallen(now: FlowTotals, past: FlowTotals): boolean {
  return (
    COUNTERS.some((name) => (now[name] ?? 0) < (past[name] ?? 0)) ||
    Object.entries(past.failed).some(([cause, count]) => (now.failed[cause] ?? 0) < count)
  );
}

function measuredSince(now: FlowTotals, start: FlowTotals | undefined): EdgeCounts['roundTrips'] {
  const { roundTripSeconds: mean, roundTripCount } = now;
  if (mean === null) return { count: 0, sumSeconds: 0 };
  if (roundTripCount === undefined) return { count: 1, sumSeconds: mean };
  const earlier = start?.roundTripCount ?? 0;
  const count = roundTripCount - earlier;
  const sumSeconds = mean * roundTripCount - (start?.roundTripSeconds ?? 0) * earlier;
  // The sums are rounded, so their difference may be slightly below zero.
  return count > 0 ? { count, sumSeconds: Math.max(0, sumSeconds) } : { count: 0, sumSeconds: 0 };
}

/** Returns the mean of the measured round-trip times in seconds; null if none was measured. */
export function roundTripOf({ roundTrips: { count, sumSeconds } }: EdgeCounts): number | null {
  return count > 0 ? sumSeconds / count : null;
}

export const NO_COUNTS: EdgeCounts = {
  connections: 0,
  sentBytes: 0,
  receivedBytes: 0,
  sentDatagrams: 0,
  receivedDatagrams: 0,
  sentSegments: 0,
  retransmittedSegments: 0,
  failed: {},
  failures: 0,
  bytes: 0,
  roundTrips: { count: 0, sumSeconds: 0 },
  requests: NO_REQUESTS,
};

export function addCounts(a: EdgeCounts, b: EdgeCounts): EdgeCounts {
  if (b === NO_COUNTS) return a;
  const failed: Record<string, number> = { ...a.failed };
  for (const [cause, count] of Object.entries(b.failed)) failed[cause] = (failed[cause] ?? 0) + count;
  return {
    connections: a.connections + b.connections,
    sentBytes: a.sentBytes + b.sentBytes,
    receivedBytes: a.receivedBytes + b.receivedBytes,
    sentDatagrams: a.sentDatagrams + b.sentDatagrams,
    receivedDatagrams: a.receivedDatagrams + b.receivedDatagrams,
    sentSegments: a.sentSegments + b.sentSegments,
    retransmittedSegments: a.retransmittedSegments + b.retransmittedSegments,
    failed,
    failures: a.failures + b.failures,
    bytes: a.bytes + b.bytes,
    roundTrips: {
      count: a.roundTrips.count + b.roundTrips.count,
      sumSeconds: a.roundTrips.sumSeconds + b.roundTrips.sumSeconds,
    },
    requests: addRequestCounts(a.requests, b.requests),
  };
}

/** Returns whether all counts are zero. */
export function isQuiet({
  connections,
  failures,
  bytes,
  sentSegments,
  roundTrips,
  requests,
  ...counts
}: EdgeCounts): boolean {
  const datagrams = counts.sentDatagrams + counts.receivedDatagrams;
  return connections + failures + bytes + datagrams + sentSegments + roundTrips.count + requests.requests === 0;
}

function sorted(rows: EdgeRow[]): EdgeRow[] {
  return rows.sort((a, b) => worstFirst(a.counts ?? NO_COUNTS, b.counts ?? NO_COUNTS));
}
