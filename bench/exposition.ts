import { Counter, Registry } from 'prom-client';
import { Aggregator } from '#collectors/aggregate.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { type LooseEmit, type MetricSet, NO_LABELS } from '#probe/metric.ts';
import { median, type Row, wallMs } from './measure.ts';

const ENTITIES = 1_000;
const METRICS = 60;
const DEVICE_METRICS = 20;
const DEVICES = ['eth0', 'eth1'];
const RUNS = 30;

/** 1,000 Pods with 60 plain metrics, and 20 by device. */
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

function ours(): { collect: () => void; render: () => Promise<Uint8Array[]> } {
  const metrics = metricSet();
  const aggregator = new Aggregator(['bench'], () => false);
  aggregator.addProbe('bench', metrics, 'full');
  const ids = Array.from({ length: ENTITIES }, (_, index) => asNetnsId(index + 1));
  aggregator.entities.set(
    ids.map((netns, index) => ({
      kind: 'pod',
      netns,
      inum: index,
      namespace: 'production',
      pod: `checkout-6f9c7d5b8-${index.toString(36).padStart(5, 'x')}`,
      uid: '',
      labels: {},
    })),
  );
  let round = 0;
  const collect = () => {
    round++;
    const batch = aggregator.begin('bench');
    const emit = batch.emit as LooseEmit;
    for (const [index, id] of ids.entries()) {
      for (let metric = 0; metric < METRICS; metric++)
        emit(`plain${metric}`, id, index * 1_000_003 + metric * round, NO_LABELS);
      for (let metric = 0; metric < DEVICE_METRICS; metric++) {
        for (const device of DEVICES) emit(`device${metric}`, id, index * 977 + metric * round, { device });
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

function promClient(): Registry {
  const registry = new Registry();
  for (const { name, help, labels } of Object.values(metricSet())) {
    const own = Object.keys(labels);
    const counter = new Counter({ name, help, labelNames: ['namespace', 'pod', ...own], registers: [registry] });
    for (let index = 0; index < ENTITIES; index++) {
      const entity = { namespace: 'production', pod: `checkout-6f9c7d5b8-${index.toString(36).padStart(5, 'x')}` };
      for (const device of own.length > 0 ? DEVICES : ['']) {
        counter.inc(own.length > 0 ? { ...entity, device } : entity, index * 1_000_003);
      }
    }
  }
  return registry;
}

/** A page of 100,000 series, against prom-client. */
export async function benchExposition(): Promise<Row[]> {
  const { collect, render } = ours();
  const series = ENTITIES * (METRICS + DEVICE_METRICS * DEVICES.length);
  collect();
  for (let warm = 0; warm < 5; warm++) await render();
  const bytes = (await render()).reduce((sum, chunk) => sum + chunk.length, 0);
  const renderMs = median(await wallMs(RUNS, render));
  const collectMs = median(await wallMs(RUNS, collect));
  const registry = promClient();
  for (let warm = 0; warm < 3; warm++) await registry.metrics();
  const promMs = median(await wallMs(RUNS / 3, () => registry.metrics()));
  const bench = `a page of ${series.toLocaleString('en')} series, ${(bytes / 1e6).toFixed(1)} MB`;
  return [
    { bench, what: 'rendered (median)', value: renderMs, unit: 'ms', bound: { atMost: 25 } },
    { bench, what: 'taken from the probes (median)', value: collectMs, unit: 'ms' },
    { bench, what: 'prom-client (median)', value: promMs, unit: 'ms' },
    { bench, what: 'prom-client : ours', value: promMs / renderMs, unit: 'x' },
  ];
}
