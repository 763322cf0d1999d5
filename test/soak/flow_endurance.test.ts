import { expect, it } from 'vitest';
import { endure } from '../support/flow_endurance.ts';

/** Length of the run; the environment variable ENDURANCE_MINUTES overrides it. */
const MINUTES = Number(process.env['ENDURANCE_MINUTES'] ?? 120);
/** Maximum change over a run. Memory is in megabytes; the other values are relative to their median. */
const GROWTH_MAX = { anonymousMB: 4, heapMB: 1.5, mapsMB: 0.2, descriptors: 0.03, series: 0.05 };

it(`${MINUTES} minutes of flows, with namespaces that come and go: memory, maps, descriptors and series do not grow`, {
  timeout: (MINUTES + 5) * 60_000,
}, async () => {
  const slopes = await endure(MINUTES);
  process.stdout.write(`${JSON.stringify(slopes)}\n`);
  const { anonymousMB, mainHeapMB, kernelHeapMB, mapsMB, descriptors, series } = slopes;
  expect(anonymousMB.change).toBeLessThan(GROWTH_MAX.anonymousMB);
  expect(mainHeapMB.change).toBeLessThan(GROWTH_MAX.heapMB);
  expect(kernelHeapMB.change).toBeLessThan(GROWTH_MAX.heapMB);
  expect(mapsMB.change).toBeLessThan(GROWTH_MAX.mapsMB);
  expect(descriptors.change / descriptors.median).toBeLessThan(GROWTH_MAX.descriptors);
  expect(series.change / series.median).toBeLessThan(GROWTH_MAX.series);
});
