import { closeSync, openSync, readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Format } from '#collectors/exposition.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { ProcessMetrics } from './process_metrics.ts';

let metrics: ProcessMetrics;
beforeEach(() => {
  metrics = new ProcessMetrics();
});
afterEach(() => metrics[Symbol.dispose]());

function sampleOf(name: string): number {
  return metrics.read().find((family) => family.name === name)?.samples[0]?.[2] ?? Number.NaN;
}

function pageOf(format: Format): string {
  const writer = new TextWriter();
  metrics.write(writer, format);
  return Buffer.concat(writer.finish()).toString();
}

async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const told = new Promise<void>((resolve) => {
    const observer = new PerformanceObserver(() => {
      observer.disconnect();
      resolve();
    });
    observer.observe({ entryTypes: ['gc'] });
  });
  (runInNewContext('gc') as () => void)();
  await told;
  await turn();
}

it('has the names and types of prom-client, except those that only a sampler knows and gauges that are named as counters', async () => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 2 ** 31 - 1 });
  const isLeftOut = (name: string) =>
    /^nodejs_eventloop_lag_\w+_seconds$/.test(name) || /^nodejs_active_\w+_total$/.test(name);
  const theirs = (await registry.getMetricsAsJSON())
    .filter(({ name }) => !isLeftOut(name))
    .map(({ name, type }) => [name, String(type)]);
  const ours = new Map(metrics.read().map(({ name, type }) => [name, type]));
  for (const [name, type] of theirs) expect([name, ours.get(String(name))]).toEqual([name, type]);
  expect([...ours.keys()].filter((name) => !theirs.some(([known]) => known === name))).toEqual([
    'nodejs_eventloop_active_seconds_total',
    'nodejs_eventloop_iterations_total',
  ]);
  registry.clear();
});

it('counts iterations of the event loop, and the time in which it did not wait', async () => {
  const before = [sampleOf('nodejs_eventloop_iterations_total'), sampleOf('nodejs_eventloop_active_seconds_total')];
  for (let count = 0; count < 10; count++) await turn();
  const [iterations = 0, active = 0] = before;
  expect(sampleOf('nodejs_eventloop_iterations_total') - iterations).toBeGreaterThanOrEqual(9);
  expect(sampleOf('nodejs_eventloop_active_seconds_total')).toBeGreaterThan(active);
});

it('reports CPU, memory and descriptors as the kernel does', () => {
  const seconds = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  const before = seconds();
  const cpu = sampleOf('process_cpu_seconds_total');
  expect(cpu).toBeGreaterThanOrEqual(before);
  expect(cpu).toBeLessThanOrEqual(seconds());
  const [first, ...more] = [1, 2, 3].map(() => openSync('/dev/null', 'r'));
  const open = sampleOf('process_open_fds');
  for (const fd of more) closeSync(fd);
  expect(sampleOf('process_open_fds')).toBe(open - more.length);
  closeSync(first ?? -1);
  const limit = /Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  expect(sampleOf('process_max_fds')).toBe(Number(limit));
  expect(sampleOf('process_virtual_memory_bytes')).toBeGreaterThan(sampleOf('process_resident_memory_bytes'));
  expect(sampleOf('process_resident_memory_bytes')).toBeGreaterThan(sampleOf('nodejs_heap_size_used_bytes'));
});

it('adds up garbage collections by kind', async () => {
  await collectGarbage();
  const family = metrics.read().find(({ name }) => name === 'nodejs_gc_duration_seconds');
  const major = (family?.samples ?? []).filter(([, { kind }]) => kind === 'major');
  const buckets = major.filter(([suffix]) => suffix === '_bucket').map(([, , value]) => value);
  const count = major.find(([suffix]) => suffix === '_count')?.[2] ?? 0;
  expect(count).toBeGreaterThan(0);
  expect(buckets).toHaveLength(7);
  expect(buckets.at(-1)).toBe(count);
  expect(buckets).toEqual(buckets.toSorted((a, b) => a - b));
  expect(major.find(([suffix]) => suffix === '_sum')?.[2]).toBeGreaterThan(0);
});

it('is written in both formats', async () => {
  await collectGarbage();
  const text = pageOf('text');
  expect(text).toContain('# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ');
  expect(text).toMatch(/^nodejs_gc_duration_seconds_bucket\{le="\+Inf",kind="major"\} \d+$/m);
  const openmetrics = pageOf('openmetrics');
  expect(openmetrics).toContain('# TYPE process_cpu_seconds counter\n');
  expect(openmetrics).toMatch(/^process_cpu_seconds_total [\d.]+$/m);
});
