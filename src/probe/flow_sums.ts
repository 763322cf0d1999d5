import type { Counter } from '#core/counter.ts';
import type { EdgeTotals } from './flow_edges.ts';

const SUMMED = [
  'connections',
  'sentBytes',
  'receivedBytes',
  'sentSegments',
  'receivedSegments',
  'retransmittedSegments',
  'retransmittedBytes',
  'outOfOrderSegments',
  'busySeconds',
  'receiverLimitedSeconds',
  'sendBufferLimitedSeconds',
] as const satisfies readonly (keyof EdgeTotals)[];

/** Adds the totals of two edges. All other fields are taken from the first edge. */
export function addTotals(a: EdgeTotals, b: EdgeTotals): EdgeTotals {
  const sums = Object.fromEntries(SUMMED.map((name) => [name, Number(a[name]) + Number(b[name])]));
  const { count, sumSeconds } = a.roundTrips;
  return {
    ...a,
    ...sums,
    open: a.open + b.open,
    failed: addCounts(a.failed, b.failed),
    ends: addCounts(a.ends, b.ends),
    roundTrips: {
      count: Number(count) + Number(b.roundTrips.count),
      sumSeconds: sumSeconds + b.roundTrips.sumSeconds,
    },
  };
}

type Counts<Name extends string> = Readonly<Partial<Record<Name, Counter>>>;

function addCounts<Name extends string>(a: Counts<Name>, b: Counts<Name>): Counts<Name> {
  const sums: Partial<Record<Name, Counter>> = { ...a };
  for (const name in b) sums[name] = Number(sums[name] ?? 0) + Number(b[name] ?? 0);
  return sums;
}
