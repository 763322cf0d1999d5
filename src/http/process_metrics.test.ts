import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { measureProcess } from './process_metrics.ts';

async function sampleOf(registry: Registry, name: string): Promise<number> {
  const metric = await registry.getSingleMetric(name)?.get();
  return metric?.values[0]?.value ?? Number.NaN;
}

it('counts iterations of the event loop, and the time in which it did not wait', async () => {
  const registry = new Registry();
  measureProcess(registry);
  const read = async () => ({
    iterations: await sampleOf(registry, 'nodejs_eventloop_iterations_total'),
    active: await sampleOf(registry, 'nodejs_eventloop_active_seconds_total'),
  });
  const before = await read();
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  const after = await read();
  expect(after.iterations - before.iterations).toBeGreaterThanOrEqual(9);
  expect(after.active).toBeGreaterThan(before.active);
});

it('has nothing that only a sampler knows', async () => {
  const registry = new Registry();
  measureProcess(registry);
  const names = (await registry.getMetricsAsJSON()).map(({ name }) => name);
  expect(names.filter((name) => name.startsWith('nodejs_eventloop_'))).toEqual([
    'nodejs_eventloop_lag_seconds',
    'nodejs_eventloop_active_seconds_total',
    'nodejs_eventloop_iterations_total',
  ]);
});
