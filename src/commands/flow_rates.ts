import type { EdgeSummary, FlowsSummary } from '#api/flows.ts';
import { type EdgeNumbers, worstFirst } from '#core/worst_first.ts';

/** Counts of an edge, either in total or since the previous response. */
export interface EdgeCounts extends EdgeNumbers {
  readonly connections: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Number of failed connections by cause. Only causes that occurred are included. */
  readonly failed: Readonly<Record<string, number>>;
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
  return sorted([...edges, ...rest].map((edge) => ({ edge, counts: countsOf(edge) })));
}

/**
 * Returns the growth of all edges since an earlier response, worst first. If a total of an edge has decreased, for
 * example because the agent was restarted, its growth is its whole total, so that it is never negative.
 */
export function growthOf(earlier: FlowsSummary, { edges, rest }: FlowsSummary): EdgeRow[] {
  const before = new Map([...earlier.edges, ...earlier.rest].map((edge) => [keyOf(edge), edge]));
  return sorted(
    [...edges, ...rest].map((edge) => {
      const past = before.get(keyOf(edge));
      if (past === undefined && earlier.omitted > 0) return { edge, counts: undefined };
      return { edge, counts: countsOf(edge, past) };
    }),
  );
}

function keyOf({ namespace, pod, netns, role, peer, port }: EdgeSummary): string {
  return JSON.stringify([namespace, pod, netns, role, peer, port]);
}

const COUNTERS = ['connections', 'sentBytes', 'receivedBytes', 'sentSegments', 'retransmittedSegments'] as const;

function countsOf(edge: EdgeSummary, past?: EdgeSummary): EdgeCounts {
  const fell =
    past !== undefined &&
    (COUNTERS.some((name) => edge[name] < past[name]) ||
      Object.entries(past.failed).some(([cause, count]) => (edge.failed[cause] ?? 0) < count));
  const start = fell ? undefined : past;
  const grown = (name: (typeof COUNTERS)[number]) => edge[name] - (start?.[name] ?? 0);
  const failed = Object.entries(edge.failed)
    .map(([cause, count]) => [cause, count - (start?.failed[cause] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  const [sentBytes, receivedBytes] = [grown('sentBytes'), grown('receivedBytes')];
  return {
    connections: grown('connections'),
    sentBytes,
    receivedBytes,
    sentSegments: grown('sentSegments'),
    retransmittedSegments: grown('retransmittedSegments'),
    failed: Object.fromEntries(failed),
    failures: failed.reduce((sum, [, count]) => sum + count, 0),
    bytes: sentBytes + receivedBytes,
  };
}

const NOTHING: EdgeNumbers = { failures: 0, sentSegments: 0, retransmittedSegments: 0, bytes: 0 };

function sorted(rows: EdgeRow[]): EdgeRow[] {
  return rows.sort((a, b) => worstFirst(a.counts ?? NOTHING, b.counts ?? NOTHING));
}
