import { describe, expect, it } from 'vitest';
import { type TrendSample, trendOf } from '../support/trend.ts';

const RUN_MS = 7_200_000;
const SAMPLES = 44;
/** Bytes of a series, in megabytes. */
const SERIES_MB = 0.000_7;

/** Numbers from 0 to 1 that are the same in each run. */
function* noise(): Generator<number> {
  for (let state = 1; ; ) {
    state = (state * 16_807) % 2_147_483_647;
    yield state / 2_147_483_647;
  }
}

/**
 * Returns the memory of an agent beside other software whose Pods become fewer: with what each series takes, temporary
 * buffers, and a leak.
 */
function samplesOf(leakMB: number): TrendSample[] {
  const random = noise();
  const next = () => random.next().value as number;
  return Array.from({ length: SAMPLES }, (_, index) => {
    const share = index / SAMPLES;
    const population = 2_000 + 8_000 * (1 - share) * next();
    const buffers = next() < 0.3 ? 20 * next() : 0.2 * next();
    const value = 15 + SERIES_MB * population + buffers + leakMB * share;
    return { atMs: 1_000_000 + share * RUN_MS, value, population };
  });
}

describe('the trend of samples', () => {
  it('is about zero if only the population and temporary buffers change', () => {
    const { change, error } = trendOf(samplesOf(0), RUN_MS);
    expect(Math.abs(change)).toBeLessThan(0.3);
    expect(error).toBeLessThan(0.3);
  });

  it('is that of a leak of 250 bytes for each of 12,000 namespaces, although the population falls', () => {
    const { change, error } = trendOf(samplesOf((12_000 * 250) / 1e6), RUN_MS);
    expect(Math.abs(change - 3)).toBeLessThan(0.3);
    expect(error).toBeLessThan(0.3);
  });

  it('is exact if nothing else changes', () => {
    const samples = Array.from({ length: 16 }, (_, index) => ({
      atMs: index * 1_000,
      value: 2 * index,
      population: 7,
    }));
    const { change, error } = trendOf(samples, 16_000);
    expect(change).toBeCloseTo(32);
    expect(error).toBeCloseTo(0);
  });

  it('is unknown with too few samples, and if time and population change alike', () => {
    expect(trendOf(samplesOf(0).slice(0, 15), RUN_MS).error).toBe(Number.POSITIVE_INFINITY);
    const alike = samplesOf(0).map((sample) => ({ ...sample, population: 10_000 - sample.atMs / RUN_MS }));
    expect(trendOf(alike, RUN_MS).error).toBe(Number.POSITIVE_INFINITY);
  });
});
