import { desiredProbes } from '#agent/desired_kernel.ts';
import { ConfigReader } from '#config/load.ts';
import { rightsFor } from '#core/rights.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';
import { type PrometheusFigures, readFigures } from '../bench/sizing_figures.ts';
import { table } from './markdown.ts';
import { LOSSES } from './rights_tables.ts';
import { DECLARED_SERIES } from './series_count.ts';

/** Computes the tables of docs/scale.md from the results of `npm run bench -- sizing series`. */

const FIGURES = readFigures();
const CONFIG = new ConfigReader(PROBES).parse('sinks: { loki: { url: "https://loki.example:3100" } }');
const { events, sinks } = CONFIG;

const DAY = 86_400;
const INTERVAL = 30;
const RETENTION_DAYS = 15;
/** Number of hours that the head block of Prometheus spans at the time a two-hour block is written. */
const HEAD_HOURS = 3;
/**
 * Assumed number of times per day that each Pod is replaced. The series of the old Pod remain in the head block for
 * `HEAD_HOURS`.
 */
const REPLACED_A_DAY = 1;
/** Factors that leave room for queries, rules and compaction. */
const MEMORY_ROOM = 1.5;
const DISK_ROOM = 1.2;
/** Number of series that one Prometheus server can hold without tuning. Several million are possible with tuning. */
const SERIES_A_SERVER = 2e6;
/** Figures from the page "Planning capacity" of Mimir's documentation. */
const MIMIR = { replicas: 3, seriesACore: 300_000, bytesAThat: 2.5e9, samplesACore: 25_000, bytesOfThat: 1e9 };
/** Number of series from which Mimir is easier to operate than several Prometheus servers. */
const MIMIR_FROM = 10e6;
/** Maximum amount of data in GB per day for each deployment mode, from Loki's documentation. */
const LOKI_SINGLE_GB = 20;
const LOKI_SCALABLE_GB = 3_000;
/** Loki's default ingestion rate limit in bytes per second, which includes structured metadata. */
const LOKI_RATE = 4e6;

const NODES = [10, 100, 1_000, 10_000];
const PODS = [30, 110];
const DETAILS = ['core', 'full'] as const;
type Detail = (typeof DETAILS)[number];

const COUNT = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

function count(value: number): string {
  if (value >= 1e6) return `${COUNT.format(value / 1e6)} million`;
  return COUNT.format(value);
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

function bytes(value: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(value) / 3));
  return `${COUNT.format(value / 1_000 ** power)} ${UNITS[power]}`;
}

const OFF = new Set(PROBES.filter(({ enabledByDefault }) => !enabledByDefault).map(({ name }) => name));

/** Returns the mean number of series of a Pod, and that of the node, with the default probes. */
function seriesOf(detail: Detail): { readonly pod: number; readonly node: number } {
  const rows = Object.entries(FIGURES.series)
    .filter(([name]) => !OFF.has(name))
    .map(([, ofProbe]) => ofProbe[detail]);
  const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0);
  return { pod: Math.round(sum(({ mean }) => mean)), node: sum(({ node }) => node) };
}

const COSTS: ReadonlyMap<string, string> = new Map(PROBES.map(({ name, cost }) => [name, cost]));

/** Returns the capability sets with which a probe runs and is not degraded. */
function rightsOf(name: string): string {
  const isLost = LOSSES.some(
    ({ set, without, probes, state }) =>
      set === 'default' && without === '' && state !== 'running' && probes.includes(name),
  );
  if (!OFF.has(name) || !isLost) return 'default';
  const { requires } = PROBES.find((probe) => probe.name === name) as AnyProbe;
  return rightsFor(requires.capabilities)?.join(', ') ?? '';
}

function byProbe(): string {
  const rows = DECLARED_SERIES.map(({ name, isOn, core, full }) => {
    const seen = FIGURES.series[name];
    // Probes that are disabled by default were measured only with `detail: core`. Newly added probes have no figures
    // yet.
    const shown = isOn ? seen?.core : seen?.all;
    const figures = [shown?.pod, shown?.p95, isOn ? seen?.full.pod : undefined, isOn ? seen?.full.p95 : undefined];
    const others = [shown?.node, core, full];
    return {
      pod: shown?.pod ?? 0,
      cells: [
        `\`${name}\``,
        isOn ? 'on' : 'off',
        COSTS.get(name) ?? '',
        rightsOf(name),
        ...[...figures, ...others].map((figure) => String(figure ?? '')),
      ],
    };
  });
  const agent = FIGURES.series['agent'];
  const { core: pod, full: podFull } = FIGURES.podSeries;
  return table(
    [
      'probe',
      'default',
      'cost',
      'capability set',
      'Pod, core: p50',
      'p95',
      'Pod, full: p50',
      'p95',
      'node, core',
      'Pod by declaration, core',
      'Pod by declaration, full',
    ],
    [
      ...rows.sort((a, b) => b.pod - a.pod).map(({ cells }) => cells),
      ["the agent's own metrics", '', '', '', '0', '0', '0', '0', String(agent?.core.node), '', ''],
      [
        '__all defaults__',
        ...['', '', ''],
        ...[pod.p50, pod.p95, podFull.p50, podFull.p95, seriesOf('core').node].map((value) => `__${value}__`),
        '',
        '',
      ],
    ],
  );
}

function agentMetrics(): string {
  const rows = Object.entries(FIGURES.agent).map(([metric, series]) => [`\`${metric}\``, String(series)]);
  return table(['metric', 'series'], rows);
}

interface Load {
  readonly series: number;
  readonly samples: number;
  readonly memory: number;
  readonly disk: number;
  readonly cores: number;
  readonly network: number;
}

function loadOf(nodes: number, pods: number, detail: Detail): Load {
  const { pod, node } = seriesOf(detail);
  const page = FIGURES.page[detail];
  const { memoryBytesASeries, diskBytesASample, walBytesASample, cpuMicrosecondsASample }: PrometheusFigures =
    FIGURES.prometheus[detail];
  const series = nodes * (node + pods * pod);
  const samples = series / INTERVAL;
  const head = series * (1 + (HEAD_HOURS / 24) * REPLACED_A_DAY);
  return {
    series,
    samples,
    memory: FIGURES.measured.idleBytes + head * memoryBytesASeries * MEMORY_ROOM,
    disk: samples * (RETENTION_DAYS * DAY * diskBytesASample + HEAD_HOURS * 3_600 * walBytesASample) * DISK_ROOM,
    cores: (samples * cpuMicrosecondsASample) / 1e6,
    network: (samples * page.gzipBytes) / page.samples,
  };
}

function whereTo(series: number): string {
  if (series <= SERIES_A_SERVER) return 'one server';
  if (series <= MIMIR_FROM) return `${Math.ceil(series / SERIES_A_SERVER)} shards`;
  return 'Mimir, or Thanos over shards';
}

function prometheus(): string {
  const rows = DETAILS.flatMap((detail) =>
    PODS.flatMap((pods) =>
      NODES.map((nodes) => {
        const { series, samples, memory, disk, cores, network } = loadOf(nodes, pods, detail);
        return [
          detail,
          String(pods),
          count(nodes),
          count(series),
          count(samples),
          bytes(memory),
          bytes(disk),
          cores < 0.01 ? 'under 0.01' : COUNT.format(cores),
          `${bytes(network)}/s`,
          whereTo(series),
        ];
      }),
    ),
  );
  return table(
    [
      'detail',
      'Pods per node',
      'nodes',
      'series',
      'samples per second',
      'memory',
      `disk space for ${RETENTION_DAYS} days`,
      'cores for ingestion',
      'network traffic (gzip)',
      'suitable store',
    ],
    rows,
  );
}

function mimir(): string {
  const rows = DETAILS.flatMap((detail) =>
    PODS.flatMap((pods) =>
      NODES.flatMap((nodes) => {
        const { series, samples } = loadOf(nodes, pods, detail);
        if (series <= MIMIR_FROM) return [];
        const shares = (series * MIMIR.replicas) / MIMIR.seriesACore;
        const ofDistributor = samples / MIMIR.samplesACore;
        const cells = [shares, ofDistributor].map((cores) => COUNT.format(Math.ceil(cores)));
        const memory = shares * MIMIR.bytesAThat + ofDistributor * MIMIR.bytesOfThat;
        return [[detail, String(pods), count(nodes), count(series), ...cells, bytes(memory)]];
      }),
    ),
  );
  return table(
    ['detail', 'Pods per node', 'nodes', 'series', 'ingester cores', 'distributor cores', 'memory of both'],
    rows,
  );
}

function memoryOf(detail: Detail): number {
  const { series, memoryBytesASeries } = FIGURES.prometheus[detail];
  return FIGURES.measured.idleBytes + series * memoryBytesASeries;
}

function measured(): string {
  const { core, full } = FIGURES.prometheus;
  const page = FIGURES.page;
  const row = (what: string, of: (detail: Detail) => string) => [what, of('core'), of('full')];
  return table(
    ['', 'core', 'full'],
    [
      row('series on the page', (detail) => count(page[detail].samples)),
      row('size of the page', (detail) => bytes(page[detail].bytes)),
      row('size of the page with gzip', (detail) => bytes(page[detail].gzipBytes)),
      row('series in Prometheus', (detail) => count(FIGURES.prometheus[detail].series)),
      row('memory of Prometheus', (detail) => bytes(memoryOf(detail))),
      ['__memory per series__', `__${bytes(core.memoryBytesASeries)}__`, `__${bytes(full.memoryBytesASeries)}__`],
      [
        '__disk space per sample, including the index__',
        `__${core.diskBytesASample} bytes__`,
        `__${full.diskBytesASample} bytes__`,
      ],
      row('chunks per sample, without the index', (detail) => `${FIGURES.prometheus[detail].chunkBytesASample} bytes`),
      row('write-ahead log per sample', (detail) => `${FIGURES.prometheus[detail].walBytesASample} bytes`),
      row(
        'CPU time to scrape and store a sample',
        (detail) => `${FIGURES.prometheus[detail].cpuMicrosecondsASample} µs`,
      ),
    ],
  );
}

function ofEvents(): string {
  const rows = Object.entries(FIGURES.events).map(([type, event]) => [
    `\`${type}\``,
    bytes(event.lineBytes),
    bytes(event.metadataBytes),
    bytes(event.gzipBytesAlone),
    bytes(event.gzipBytes),
  ]);
  return table(
    ['event', 'line', 'structured metadata', 'push of one event (gzip)', 'push of a hundred (gzip), per event'],
    rows,
  );
}

/** Size in bytes of the largest event, as Loki counts it. */
const EVENT_BYTES = Math.max(
  ...Object.values(FIGURES.events).map(({ lineBytes, metadataBytes }) => lineBytes + metadataBytes),
);

const NODE_PODS = 110;
/** Events per second of a node. */
const RATES: readonly (readonly [what: string, rate: number])[] = [
  ['quiet: each Pod has one event per hour', NODE_PODS / 3_600],
  ['busy: each Pod has one event per minute', NODE_PODS / 60],
  ['one Pod per node is at its limit', events.limit],
  ['worst case: all Pods and nodes are at their limits', (NODE_PODS + 1) * events.limit],
];
/** Assumed number of streams: on each node, five namespaces have events of three types each. */
const STREAMS = 5 * 3;

function lokiMode(gigabytes: number): string {
  if (gigabytes <= LOKI_SINGLE_GB) return 'single';
  return gigabytes <= LOKI_SCALABLE_GB ? 'scalable' : 'distributed';
}

function loki(): string {
  const perDay = (rate: number) => rate * EVENT_BYTES * DAY;
  const rows = NODES.map((nodes) => [
    count(nodes),
    ...RATES.map(([, rate]) => `${bytes(perDay(nodes * rate))} per day, ${lokiMode(perDay(nodes * rate) / 1e9)}`),
    count(nodes * STREAMS),
  ]);
  const ofOne = RATES.map(([, rate]) => `${COUNT.format(rate)} events per second`);
  return table(['nodes', ...RATES.map(([what]) => what), 'streams'], [['1', ...ofOne, String(STREAMS)], ...rows]);
}

function bounds(): string {
  const { packetloss } = desiredProbes(CONFIG);
  const { loki: sink } = sinks;
  if (packetloss === undefined || sink === undefined) throw new Error('the defaults have changed');
  const { limit } = packetloss.settings;
  return table(
    ['where', 'limit', 'effect'],
    [
      [
        'in the kernel (`limit`)',
        `${limit} events per second, probe and namespace`,
        'further anomalies are counted, but cause no event',
      ],
      [
        'in the agent (`events.limit`)',
        `${events.limit} events per second and Pod`,
        `a node with ${NODE_PODS} Pods sends at most ${count((NODE_PODS + 1) * events.limit)} events per second`,
      ],
      [
        'folding (`events.fold`)',
        `at most two events for any number of identical ones within ${events.foldMs / 1_000} s`,
        'a storm of identical events costs very little',
      ],
      [
        'the queue of each sink',
        `${count(sink.queue)} events, and ${sink.queueBytes / 1024 ** 2} MiB`,
        'events wait while a sink is unreachable; if the queue is full, the oldest are dropped',
      ],
      [
        'a push to Loki',
        `${count(sink.batch.events)} events, and ${sink.batch.bytes / 1024 ** 2} MiB of text`,
        'with one push at a time and a response time of 50 ms, about 20 MiB per second',
      ],
      [
        'Loki (`ingestion_rate_mb`)',
        `${bytes(LOKI_RATE)} per second and tenant`,
        `all nodes together can send ${count(LOKI_RATE / EVENT_BYTES)} events per second; Loki refuses further ones with 429, and they are retried later`,
      ],
    ],
  );
}

function constants(): string {
  const { core, full } = { core: seriesOf('core'), full: seriesOf('full') };
  return table(
    ['name', 'value', 'source'],
    [
      ['`pod`', `${core.pod} series (core), ${full.pod} (full)`, 'measured: mean of the Pods in the table above'],
      [
        '`node`',
        `${core.node} series (core), ${full.node} (full)`,
        'measured (table above); it grows with the numbers of CPUs and devices',
      ],
      ['`interval`', `${INTERVAL} s`, 'default of the Prometheus Operator'],
      [
        '`memory`',
        `${bytes(FIGURES.prometheus.core.memoryBytesASeries)} per series (core), ${bytes(FIGURES.prometheus.full.memoryBytesASeries)} (full)`,
        'measured',
      ],
      [
        '`sample`',
        `${FIGURES.prometheus.core.diskBytesASample} bytes (core), ${FIGURES.prometheus.full.diskBytesASample} bytes (full)`,
        'measured',
      ],
      [
        '`log`',
        `${FIGURES.prometheus.core.walBytesASample} bytes (core), ${FIGURES.prometheus.full.walBytesASample} bytes (full)`,
        'measured',
      ],
      ['`replaced`', `${REPLACED_A_DAY} per day`, 'assumption: how often a Pod is replaced by a Pod with another name'],
      [
        '`reserve`',
        `${MEMORY_ROOM} for memory, ${DISK_ROOM} for disk space`,
        "Mimir's documentation recommends 50 % more memory for peaks, and that of Prometheus recommends to use at most 80 to 85 % of the disk",
      ],
      ['`event`', bytes(EVENT_BYTES), 'measured; the largest event in the table below'],
    ],
  );
}

function counted(): string {
  const { date, kernel, pods } = FIGURES.counted;
  const { core, full } = FIGURES.podSeries;
  return [
    `The series were counted on ${date}, with Linux ${kernel}, on a machine with ${pods} busy Pods. Half of the Pods had at most ${core.p50} series with \`detail: core\` and ${full.p50} with \`detail: full\`, 95 % had at most ${core.p95} and ${full.p95}, and the`,
    `means were ${core.mean} and ${full.mean}.`,
  ].join('\n');
}

function run(): string {
  const { date, kernel, cpus, prometheus: version, pods, scrapes, idleBytes } = FIGURES.measured;
  const series = count(FIGURES.prometheus.core.series);
  return [
    `The run was on ${date}, with Linux ${kernel}, ${cpus} CPUs and Prometheus ${version}. One agent ran on a machine with ${pods} busy Pods. Prometheus scraped the agent's page every second as the pages of`,
    `several nodes with ${series} series in total, for ${scrapes} seconds. Each series then has as many samples as in a two-hour block with a scrape interval of ${INTERVAL} s. An idle Prometheus server took ${bytes(idleBytes)} of memory.`,
  ].join('\n');
}

export const SIZING_TABLES: Readonly<Record<string, string>> = {
  run: run(),
  counted: counted(),
  'series by probe': byProbe(),
  'series of the agent': agentMetrics(),
  measured: measured(),
  constants: constants(),
  prometheus: prometheus(),
  mimir: mimir(),
  events: ofEvents(),
  bounds: bounds(),
  loki: loki(),
};
