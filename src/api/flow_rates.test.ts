import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addCounts, type FlowTotals, growthOf, isQuiet, NO_COUNTS, roundTripOf } from './flow_rates.ts';

function totals(more: Partial<FlowTotals> = {}): FlowTotals {
  return {
    connections: 10,
    failed: { refused: 2 },
    sentBytes: 1_000,
    receivedBytes: 2_000,
    sentSegments: 100,
    retransmittedSegments: 1,
    roundTripSeconds: 0.002,
    roundTripCount: 10,
    ...more,
  };
}

describe('the round-trip time of a period', () => {
  it('is the mean of what was measured in it, not of all that was ever measured', () => {
    const growth = growthOf(totals({ roundTripSeconds: 0.012, roundTripCount: 20 }), totals());
    expect(growth.roundTrips.count).toBe(10);
    expect(roundTripOf(growth)).toBeCloseTo(0.022, 12);
  });

  it('is unknown where nothing was measured', () => {
    expect(roundTripOf(growthOf(totals(), totals()))).toBeNull();
    expect(roundTripOf(growthOf(totals({ roundTripSeconds: null, roundTripCount: 0 })))).toBeNull();
  });

  it('is the mean of all where their number is unknown', () => {
    const growth = growthOf(totals({ roundTripCount: undefined }), totals({ roundTripCount: undefined }));
    expect(roundTripOf(growth)).toBe(0.002);
  });

  it('is never negative, although means are rounded', () => {
    const measured = fc.record({
      roundTripSeconds: fc.double({ min: 0, max: 100, noNaN: true }),
      roundTripCount: fc.nat(),
    });
    fc.assert(
      fc.property(measured, measured, (past, now) => {
        expect(roundTripOf(growthOf(totals(now), totals(past))) ?? 0).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

it('growth adds up to the growth of the whole time', () => {
  const count = () => fc.nat({ max: 1_000 });
  const more = fc.record({
    connections: count(),
    sentBytes: count(),
    receivedBytes: count(),
    sentSegments: count(),
    retransmittedSegments: count(),
    refused: count(),
    timeout: count(),
  });
  fc.assert(
    fc.property(fc.array(more, { minLength: 1, maxLength: 8 }), (steps) => {
      const series = [totals()];
      for (const { refused, timeout, ...grown } of steps) {
        const last = series.at(-1) ?? totals();
        const sums = Object.fromEntries(
          Object.entries(grown).map(([name, by]) => [name, Number(last[name as keyof FlowTotals]) + by]),
        );
        const failed = {
          refused: (last.failed['refused'] ?? 0) + refused,
          timeout: (last.failed['timeout'] ?? 0) + timeout,
        };
        series.push(totals({ ...sums, failed }));
      }
      const sum = series
        .slice(1)
        .map((now, index) => growthOf(now, series[index]))
        .reduce(addCounts, NO_COUNTS);
      expect(sum).toEqual(growthOf(series.at(-1) ?? totals(), series[0]));
    }),
  );
});

it('a period is quiet if nothing was counted in it', () => {
  expect(isQuiet(growthOf(totals(), totals()))).toBe(true);
  for (const name of ['connections', 'sentBytes', 'receivedBytes', 'sentSegments', 'roundTripCount'] as const) {
    expect(isQuiet(growthOf(totals({ [name]: 10_000 }), totals())), name).toBe(false);
  }
  expect(isQuiet(growthOf(totals({ failed: { refused: 2, timeout: 1 } }), totals()))).toBe(false);
});
