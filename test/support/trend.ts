/** A measurement, with the size of what was measured at that time. */
export interface TrendSample {
  readonly atMs: number;
  readonly value: number;
  /** For example, the number of series or Pods, which also depends on what else runs on the machine. */
  readonly population: number;
}

export interface Trend {
  readonly mean: number;
  /** Change over the run at a constant population. */
  readonly change: number;
  /** Standard error of the change; infinite if there are too few samples, or if the population changes like the time. */
  readonly error: number;
}

/** Number of consecutive samples of which only the lowest is used, because temporary buffers can only add to a value. */
const BLOCK = 4;
/** Share of the variance of time that the population must not explain. */
const ALIKE = 1e-6;
/** Number of fitted parameters: the mean, the change by time, and the change by population. */
const PARAMETERS = 3;

/**
 * Fits a plane over time and population to the lowest samples of each block. A leak raises all of them, while other
 * load on the machine raises some, or changes the population.
 * @param runMs length of the run in milliseconds to which the change refers
 */
export function trendOf(samples: readonly TrendSample[], runMs: number): Trend {
  const lowest = blocksOf(samples).map((block) => block.reduce((low, one) => (one.value < low.value ? one : low)));
  const mean = meanOf(lowest.map(({ value }) => value));
  const [atMs, population] = [meanOf(lowest.map((one) => one.atMs)), meanOf(lowest.map((one) => one.population))];
  const centred = lowest.map((one) => ({
    t: (one.atMs - atMs) / runMs,
    x: one.population - population,
    y: one.value - mean,
  }));
  const sum = (of: (one: (typeof centred)[number]) => number) => centred.reduce((total, one) => total + of(one), 0);
  const [tt, xx, tx, ty, xy] = [
    sum(({ t }) => t * t),
    sum(({ x }) => x * x),
    sum(({ t, x }) => t * x),
    sum(({ t, y }) => t * y),
    sum(({ x, y }) => x * y),
  ] as const;
  // Without any change of the population, there is nothing to attribute to it.
  const byPopulation = xx === 0 ? 0 : tx / xx;
  const spread = tt - byPopulation * tx;
  const freedom = lowest.length - PARAMETERS;
  // The last condition means that a change by time cannot be told from one by population.
  if (freedom < 1 || spread < tt * ALIKE) return { mean, change: Number.NaN, error: Number.POSITIVE_INFINITY };
  const change = (ty - byPopulation * xy) / spread;
  const slope = xx === 0 ? 0 : (xy - change * tx) / xx;
  const residual = sum(({ t, x, y }) => (y - change * t - slope * x) ** 2);
  return { mean, change, error: Math.sqrt(residual / freedom / spread) };
}

function blocksOf(samples: readonly TrendSample[]): TrendSample[][] {
  const blocks: TrendSample[][] = [];
  for (let first = 0; first + BLOCK <= samples.length; first += BLOCK) blocks.push(samples.slice(first, first + BLOCK));
  return blocks;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
