import { setTimeout as wait } from 'node:timers/promises';
import { Counter, Registry } from 'prom-client';
import { Aggregator } from '#collectors/aggregate.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { type LooseEmit, type MetricSet, NO_LABELS } from '#probe/metric.ts';
import { cpuMs, median, type Row } from './measure.ts';

const FULL_NODE = 110;
const MANY = 2_084;
const METRICS = 36;
const DEVICE_METRICS = 6;
const DEVICES = ['eth0', 'eth1'];
const RUNS = 60;
const COLD_RUNS = 15;
const PROM_RUNS = 5;
/** One sample in ten changes between two collections. */
const CHANGED = 10;
/** Size in bytes of a buffer that does not fit into the CPU's caches. */
const OTHER_MEMORY = 64 * 1024 * 1024;
const CACHE_LINE = 64;
/** Pause before each cold measurement, in which other processes use the CPU and its caches. */
const REST_MS = 700;

/** Returns as many metrics as the default probes have: 36 without labels and 6 with a device label. */
function metricSet(): MetricSet {
  const metric = (name: string, labels: MetricSet[string]['labels']) =>
    ({ name, type: 'counter', help: 'A counter.', source: 'bench', scope: 'pod', detail: 'core', labels }) as const;
  const plain = Array.from({ length: METRICS }, (_, index) => [
    `plain${index}`,
    metric(`netsonde_bench_plain_${index}_total`, {}),
  ]);
  const device = { device: { help: 'Device.', example: 'eth0', max: 16 } };
  const labelled = Array.from({ length: DEVICE_METRICS }, (_, index) => [
    `device${index}`,
    metric(`netsonde_bench_device_${index}_total`, device),
  ]);
  return Object.fromEntries([...plain, ...labelled]);
}

/** Returns netsonde's writer for a page with this number of Pods. Each collection changes a tenth of the values. */
function ours(pods: number): { collect: () => void; render: () => Promise<Uint8Array[]> } {
  const aggregator = new Aggregator(['bench'], () => false);
  aggregator.addProbe('bench', metricSet(), 'full');
  const ids = Array.from({ length: pods }, (_, index) => asNetnsId(index + 1));
  aggregator.entities.set(
    ids.map((netns, index) => ({
      kind: 'pod',
      netns,
      inum: index,
      namespace: 'production',
      pod: podName(index),
      uid: '',
      labels: {},
    })),
  );
  let round = 0;
  const sampleOf = (pod: number, metric: number) =>
    pod * 1_000_003 + metric * (round - ((round + pod + metric) % CHANGED));
  const collect = () => {
    round++;
    const batch = aggregator.begin('bench');
    const emit = batch.emit as LooseEmit;
    for (let metric = 0; metric < METRICS; metric++) {
      emit.column(`plain${metric}`, ids, NO_LABELS, (pod) => sampleOf(pod, metric));
    }
    for (const [pod, id] of ids.entries()) {
      for (const device of DEVICES) {
        const labels = { device };
        for (let metric = 0; metric < DEVICE_METRICS; metric++)
          emit(`device${metric}`, id, sampleOf(pod, metric), labels);
      }
    }
    batch.commit();
  };
  const render = async () => {
    const writer = new TextWriter();
    await aggregator.render(writer, 'text', freeCycle());
    return writer.finish();
  };
  return { collect, render };
}

function podName(index: number): string {
  return `checkout-6f9c7d5b8-${index.toString(36).padStart(5, 'x')}`;
}

function promClient(pods: number): Registry {
  const registry = new Registry();
  for (const { name, help, labels } of Object.values(metricSet())) {
    const own = Object.keys(labels);
    const counter = new Counter({ name, help, labelNames: ['namespace', 'pod', ...own], registers: [registry] });
    for (let index = 0; index < pods; index++) {
      const entity = { namespace: 'production', pod: podName(index) };
      for (const device of own.length > 0 ? DEVICES : ['']) {
        counter.inc(own.length > 0 ? { ...entity, device } : entity, index * 1_000_003);
      }
    }
  }
  return registry;
}

/**
 * Measures the time to collect and write two pages: the page of a full node, and a page of 100,000 series. Hot runs
 * follow each other in a loop, with code and data in the CPU's caches. Before each cold run, there is a pause in which
 * code and data are evicted, as happens between two scrapes.
 */
export async function benchExposition(): Promise<Row[]> {
  return [...(await measure(FULL_NODE)), ...(await measure(MANY))];
}

async function measure(pods: number): Promise<Row[]> {
  const { collect, render } = ours(pods);
  const series = pods * (METRICS + DEVICE_METRICS * DEVICES.length);
  const hot = await times(RUNS, collect, render);
  const other = new Uint8Array(OTHER_MEMORY);
  const cold = await times(COLD_RUNS, collect, render, async () => {
    await wait(REST_MS);
    for (let at = 0; at < other.length; at += CACHE_LINE) other[at] = (other[at] ?? 0) + 1;
  });
  const bytes = (await render()).reduce((sum, chunk) => sum + chunk.length, 0);
  const registry = promClient(pods);
  await registry.metrics();
  const promMs = median(await cpuMs(PROM_RUNS, () => registry.metrics()));
  const bench = `a page of ${series.toLocaleString('en')} series, ${(bytes / 1e6).toFixed(1)} MB, a tenth of them changed`;
  return [
    { bench, what: 'taken from the probes, CPU (median)', value: median(hot.collectMs), unit: 'ms' },
    { bench, what: 'taken from the probes, cold, CPU (median)', value: median(cold.collectMs), unit: 'ms' },
    { bench, what: 'rendered, CPU (median)', value: median(hot.renderMs), unit: 'ms' },
    { bench, what: 'rendered, cold, CPU (median)', value: median(cold.renderMs), unit: 'ms' },
    { bench, what: 'prom-client, CPU (median)', value: promMs, unit: 'ms' },
    { bench, what: 'prom-client : ours', value: promMs / median(hot.renderMs), unit: 'x', bound: { atLeast: 25 } },
  ];
}

async function times(
  runs: number,
  collect: () => void,
  render: () => Promise<unknown>,
  before: () => Promise<void> | void = () => undefined,
): Promise<{ readonly collectMs: readonly number[]; readonly renderMs: readonly number[] }> {
  const collectMs: number[] = [];
  const renderMs: number[] = [];
  const warm = Math.floor(runs / 3);
  for (let run = -warm; run < runs; run++) {
    if (run >= 0) await before();
    const [collected = Number.NaN] = await cpuMs(1, collect);
    if (run >= 0) await before();
    const [rendered = Number.NaN] = await cpuMs(1, render);
    if (run < 0) continue;
    collectMs.push(collected);
    renderMs.push(rendered);
  }
  return { collectMs, renderMs };
}
