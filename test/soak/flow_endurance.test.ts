import { expect, it } from 'vitest';
import { endure, type Judged } from '../support/flow_endurance.ts';
import type { Trend } from '../support/trend.ts';

/** Length of the run; the environment variable ENDURANCE_MINUTES overrides it. */
const MINUTES = Number(process.env['ENDURANCE_MINUTES'] ?? 120);
/**
 * Maximum change over a run at a constant population. Memory is in megabytes; the other values are relative to their
 * mean.
 */
const GROWTH_MAX: Readonly<Record<Judged, number>> = {
  anonymousMB: 4,
  mainHeapMB: 1.5,
  kernelHeapMB: 1.5,
  mapsMB: 0.2,
  descriptors: 0.03,
  series: 0.05,
};
const RELATIVE: readonly Judged[] = ['descriptors', 'series'];

it(`${MINUTES} minutes of flows, with namespaces that come and go: memory, maps, descriptors and series do not grow`, {
  timeout: (MINUTES + 5) * 60_000,
}, async () => {
  const trends = await endure(MINUTES);
  process.stdout.write(`${JSON.stringify(trends)}\n`);
  for (const [name, { mean, change, error }] of Object.entries(trends) as [Judged, Trend][]) {
    const unit = RELATIVE.includes(name) ? mean : 1;
    // A run that cannot rule out a leak of this size shows nothing.
    expect((change + error) / unit, name).toBeLessThan(GROWTH_MAX[name]);
  }
});
