import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { constants, gzipSync } from 'node:zlib';
import type { LaneRecord } from '#delivery/record.ts';
import { pushBody, streamsOf } from '#delivery/sinks/loki.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { AgentProcess } from '../test/support/agent_process.ts';
import { provokeAnomalies } from '../test/support/anomalies.ts';
import { type Exposition, sampleValue } from '../test/support/exposition.ts';
import { HostPair } from '../test/support/hosts.ts';
import { LokiServer } from '../test/support/loki_server.ts';
import { PrometheusServer } from '../test/support/prometheus.ts';
import { BUSY_CONFIG, BUSY_POD } from './busy_pods.ts';
import type { Row } from './measure.ts';
import { Names, NodePages } from './node_pages.ts';
import { createPods, PODS } from './pods.ts';
import { type EventFigures, type PrometheusFigures, type SizingFigures, updateFigures } from './sizing_figures.ts';

/**
 * Number of scrapes in two hours at an interval of 30 s. The resulting block covers the same time as Prometheus' blocks
 * normally do.
 */
const SCRAPES = 240;
/** Numbers of nodes that together have about 100,000 series. */
const NODES = { core: 8, full: 2 } as const;
const YOUNG_MS = 11_000;
const EVENT_SECONDS = 20;
const BATCH = 100;

type Detail = keyof typeof NODES;

/**
 * Measures how much memory and disk space the data of a node takes in Prometheus and Loki. UPDATE_FIGURES=1 writes the
 * figures to bench/sizing.json.
 */
export async function benchSizing(): Promise<Row[]> {
  const events = await measureEvents();
  await using _pods = await createPods(BUSY_POD);
  await wait(YOUNG_MS);
  const core = await measureDetail('core');
  const full = await measureDetail('full');
  const figures: Partial<SizingFigures> = {
    measured: {
      date: new Date().toISOString().slice(0, 10),
      kernel: release(),
      cpus: cpus().length,
      prometheus: core.version,
      pods: PODS,
      scrapes: SCRAPES,
      idleBytes: core.idleBytes,
    },
    prometheus: { core: core.prometheus, full: full.prometheus },
    events,
  };
  updateFigures(figures);
  return rowsOf(core.prometheus, full.prometheus, events);
}

async function serve(config: object, folder: string): Promise<AgentProcess> {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, JSON.stringify(config));
  return AgentProcess.serve(['--config', path]);
}

async function measureDetail(detail: Detail) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-'));
  await using agent = await serve({ ...BUSY_CONFIG, detail }, folder.path);
  await using pages = await NodePages.start(agent);
  await wait(YOUNG_MS);
  const targets = Array.from({ length: NODES[detail] }, (_, index) => ({
    address: pages.address,
    labels: { __metrics_path__: `/${index}`, node: `worker-pool-1-${index}`, instance: `10.0.0.${index}:9102` },
  }));
  await using prometheus = await PrometheusServer.start({ targets });
  await wait(YOUNG_MS);
  const before = stateOf(await prometheus.page());
  pages.isOpen = true;
  await wait(SCRAPES * 1_000);
  const after = stateOf(await prometheus.page());
  pages.isOpen = false;
  return {
    version: after.version,
    idleBytes: before.resident,
    prometheus: {
      series: after.series,
      samples: after.samples - before.samples,
      memoryBytesASeries: Math.round((after.resident - before.resident) / after.series),
      headChunksASeries: round(after.chunks / after.series),
      cpuMicrosecondsASample: round(((after.cpu - before.cpu) * 1e6) / (after.samples - before.samples)),
      ...diskOf(await prometheus.snapshot()),
      walBytesASample: round(sizeOf(join(prometheus.data, 'wal')) / after.samples),
    } satisfies PrometheusFigures,
  };
}

/** Returns the value of one of Prometheus' own metrics. */
function stateOf(page: Exposition) {
  const value = (name: string, labels = {}) => {
    const found = sampleValue(page, name, labels);
    if (found === undefined) throw new Error(`Prometheus does not show ${name}`);
    return found;
  };
  return {
    version: page.samples.find(({ name }) => name === 'prometheus_build_info')?.labels['version'] ?? '',
    resident: value('process_resident_memory_bytes'),
    cpu: value('process_cpu_seconds_total'),
    series: value('prometheus_tsdb_head_series'),
    chunks: value('prometheus_tsdb_head_chunks'),
    samples: value('prometheus_tsdb_head_samples_appended_total', { type: 'float' }),
  };
}

function diskOf(snapshot: string): Pick<PrometheusFigures, 'diskBytesASample' | 'chunkBytesASample'> {
  const blocks = readdirSync(snapshot).map((name) => join(snapshot, name));
  const sum = (of: (block: string) => number) => blocks.reduce((total, block) => total + of(block), 0);
  const samples = sum((block) => {
    const meta = JSON.parse(readFileSync(join(block, 'meta.json'), 'utf8')) as { stats: { numSamples: number } };
    return meta.stats.numSamples;
  });
  return {
    diskBytesASample: round(sum(sizeOf) / samples),
    chunkBytesASample: round(sum((block) => sizeOf(join(block, 'chunks'))) / samples),
  };
}

/** Returns the size of all files in a directory. */
function sizeOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((total, { parentPath, name }) => total + statSync(join(parentPath, name)).size, 0);
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

/** Collects real events, and gives them names as long as those in a cluster. */
async function measureEvents(): Promise<Readonly<Record<string, EventFigures>>> {
  await using pair = await HostPair.create();
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-'));
  await using _agent = await serve({ sinks: { loki: { url: loki.url } } }, folder.path);
  await using _anomalies = await provokeAnomalies(pair);
  await wait(EVENT_SECONDS * 1_000);
  const names = new Names();
  const byType = new Map<string, LaneRecord[]>();
  for (const record of loki.records) {
    const peer = { kind: 'pod', ...peerOf(names, record.dst), ip: record.dst?.replace(/:\d+$/, '') ?? '' } as const;
    const named = { ...record, node: 'worker-pool-1-0', ...names.of(record.pod ?? ''), peer };
    byType.set(record.type, [...(byType.get(record.type) ?? []), EVENT_KIND.toRecord(named)]);
  }
  return Object.fromEntries([...byType].sort().map(([type, lines]) => [type, figuresOf(lines)]));
}

function peerOf(names: Names, address = '') {
  const { namespace, pod } = names.of(address);
  return { namespace, name: pod };
}

function figuresOf(lines: readonly LaneRecord[]): EventFigures {
  const batches = Array.from({ length: Math.ceil(lines.length / BATCH) }, (_, index) =>
    lines.slice(index * BATCH, (index + 1) * BATCH),
  ).flatMap((batch) => streamsOf(batch).map(({ records }) => records));
  const push = (events: readonly LaneRecord[]) => pushBody(events, { cluster: 'eu-1', job: 'netsonde' }, true);
  const gzip = (text: string) => gzipSync(text, { level: constants.Z_BEST_SPEED }).length;
  const mean = (values: readonly number[]) => Math.round(values.reduce((sum, value) => sum + value, 0) / lines.length);
  return {
    events: lines.length,
    lineBytes: mean(lines.map(({ bytes }) => bytes)),
    metadataBytes: mean(lines.map((line) => metadataBytes(push([line])))),
    pushBytes: mean(batches.map((batch) => Buffer.byteLength(push(batch)))),
    gzipBytes: mean(batches.map((batch) => gzip(push(batch)))),
    gzipBytesAlone: mean(lines.map((line) => gzip(push([line])))),
  };
}

/** Returns the size of the names and values of structured metadata, as Loki counts it. */
function metadataBytes(body: string): number {
  const { streams } = JSON.parse(body) as { streams: { values: [string, string, Record<string, string>][] }[] };
  const metadata = streams[0]?.values[0]?.[2] ?? {};
  return Object.entries(metadata).reduce((sum, entry) => sum + Buffer.byteLength(entry.join('')), 0);
}

function rowsOf(core: PrometheusFigures, full: PrometheusFigures, events: SizingFigures['events']): Row[] {
  const rows: Row[] = [];
  for (const [detail, figures] of Object.entries({ core, full })) {
    const bench = `${PODS} busy Pods, ${detail}`;
    const add = (what: string, value: number, unit: string) => rows.push({ bench, what, value, unit });
    add('Prometheus: series', figures.series, '');
    add('Prometheus: resident, a series', figures.memoryBytesASeries, 'bytes');
    add('Prometheus: CPU, a sample', figures.cpuMicrosecondsASample, 'µs');
    add('Prometheus: block, a sample', figures.diskBytesASample, 'bytes');
    add('Prometheus: chunks of it, per sample', figures.chunkBytesASample, 'bytes');
    add('Prometheus: write-ahead log, a sample', figures.walBytesASample, 'bytes');
  }
  for (const [type, figures] of Object.entries(events)) {
    const add = (what: string, value: number) => rows.push({ bench: `event ${type}`, what, value, unit: 'bytes' });
    add('line', figures.lineBytes);
    add('structured metadata', figures.metadataBytes);
    add(`push of ${BATCH}, an event`, figures.pushBytes);
    add(`push of ${BATCH}, gzip, an event`, figures.gzipBytes);
    add('push of a single event, gzip', figures.gzipBytesAlone);
  }
  return rows;
}
