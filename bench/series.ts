import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { constants, gzipSync } from 'node:zlib';
import type { MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { AgentProcess } from '../test/support/agent_process.ts';
import { type Exposition, parseExposition } from '../test/support/exposition.ts';
import { BUSY_CONFIG, BUSY_POD } from './busy_pods.ts';
import { quantile, type Row, spreadOf } from './measure.ts';
import { Names, ownPods } from './node_pages.ts';
import { createPods, PODS } from './pods.ts';
import { type PageFigures, type PodSeries, type SeriesCount, updateFigures } from './sizing_figures.ts';

const YOUNG_MS = 11_000;
/** Edges of a Pod compete by growth between two scrapes, so the first page is not typical. */
const SCRAPES = 5;
const SCRAPE_EVERY_MS = 2_000;
/** Minimum number of series for which an agent metric gets its own row. */
const MANY = 20;
const NONE: SeriesCount = { pod: 0, p95: 0, mean: 0, node: 0 };

/**
 * Counts the series of the Pods and of the node on a page. UPDATE_FIGURES=1 writes the figures to bench/sizing.json.
 */
export async function benchSeries(): Promise<Row[]> {
  await using _pods = await createPods(BUSY_POD);
  await wait(YOUNG_MS);
  const core = await measurePage({ detail: 'core' });
  const full = await measurePage({ detail: 'full' });
  const all = await measurePage({ probes: Object.fromEntries(PROBES.map(({ name }) => [name, true])) });
  updateFigures({
    counted: { date: new Date().toISOString().slice(0, 10), kernel: release(), pods: PODS },
    series: Object.fromEntries(
      [...all.series].map(([probe, count]) => [
        probe,
        { core: core.series.get(probe) ?? NONE, full: full.series.get(probe) ?? NONE, all: count },
      ]),
    ),
    podSeries: { core: core.pod, full: full.pod },
    agent: core.agent,
    page: { core: core.page, full: full.page },
  });
  return Object.entries({ core, full }).flatMap(([detail, { page, pod }]) => {
    const row = (what: string, value: number, unit = '') => ({
      bench: `${PODS} busy Pods, ${detail}`,
      what,
      value,
      unit,
    });
    return [
      row('series of a page', page.samples),
      row('page', page.bytes / 1024, 'KiB'),
      row('page, gzip', page.gzipBytes / 1024, 'KiB'),
      row('series of a Pod, p50', pod.p50),
      row('series of a Pod, p95', pod.p95),
      row('series of a Pod, mean', pod.mean),
    ];
  });
}

async function measurePage(config: object) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-'));
  const path = join(folder.path, 'config.yaml');
  writeFileSync(path, JSON.stringify({ ...BUSY_CONFIG, ...config }));
  await using agent = await AgentProcess.serve(['--config', path]);
  await wait(YOUNG_MS);
  let text = '';
  for (let scrape = 0; scrape < SCRAPES; scrape++) {
    await wait(SCRAPE_EVERY_MS);
    text = await (await agent.get('/metrics')).text();
  }
  const named = new Names().on(ownPods(text));
  const page = parseExposition(named);
  return {
    ...countSeries(page),
    agent: countAgent(page),
    page: {
      samples: page.samples.length,
      bytes: Buffer.byteLength(named),
      gzipBytes: gzipSync(named, { level: constants.Z_BEST_SPEED }).length,
    } satisfies PageFigures,
  };
}

const PROBE_OF: ReadonlyMap<string, string> = new Map(
  PROBES.flatMap((probe) => Object.values(probe.metrics as MetricSet).map(({ name }) => [name, probe.name] as const)),
);

function probeOf(sample: string): string {
  return PROBE_OF.get(sample) ?? PROBE_OF.get(sample.replace(/_(bucket|count|sum)$/, '')) ?? 'agent';
}

/** Counts the series of each probe, and those of a Pod over all probes. */
function countSeries({ samples }: Exposition): { series: Map<string, SeriesCount>; pod: PodSeries } {
  const counts = new Map<string, Map<string, number>>(
    [...PROBES.map(({ name }) => name), 'agent'].map((name) => [name, new Map()]),
  );
  const pods = new Map<string, number>();
  for (const { name, labels } of samples) {
    const { namespace = '', pod = '' } = labels;
    const owner = pod === '' ? '' : `${namespace}/${pod}`;
    if (owner !== '') pods.set(owner, (pods.get(owner) ?? 0) + 1);
    const ofProbe = counts.get(probeOf(name));
    ofProbe?.set(owner, (ofProbe.get(owner) ?? 0) + 1);
  }
  const series = [...counts].map(([probe, byOwner]) => {
    const { p50, p95, mean } = podSeries([...pods.keys()].map((pod) => byOwner.get(pod) ?? 0));
    return [probe, { pod: p50, p95, mean, node: byOwner.get('') ?? 0 }] as const;
  });
  return { series: new Map(series), pod: podSeries([...pods.values()]) };
}

function podSeries(counts: readonly number[]): PodSeries {
  const { median, mean } = spreadOf(counts);
  return { p50: median, p95: quantile(counts, 0.95), mean: Number(mean.toPrecision(3)) };
}

/** Counts the series of the agent's own metrics, and sorts the metrics by that number, largest first. */
function countAgent({ samples }: Exposition): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of samples) {
    if (probeOf(name) !== 'agent') continue;
    const metric = name.replace(/_(bucket|count|sum)$/, '');
    counts.set(metric, (counts.get(metric) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].filter(([, count]) => count >= MANY).sort(([, a], [, b]) => b - a));
}
