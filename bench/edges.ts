import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Aggregator } from '#collectors/aggregate.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { defineMetrics, type LooseEmit, type LooseRowReader, type MetricSet } from '#probe/metric.ts';
import { cpuMs, median, type Row } from './measure.ts';

const PODS = 110;
const SHOWN = 64;
/** Number of addresses of one Service. Each address has its own row, and all rows of a Service belong to one edge. */
const ADDRESSES = 4;
const COUNTERS = 11;
const RUNS = 30;

const BOUND = { max: { core: 16, full: SHOWN }, rank: ['counter0'] } as const;

function metricSet(): MetricSet {
  const base = { help: 'Bench.', source: 'bench', scope: 'pod' } as const;
  const joint = { help: 'Bench.', example: 'x', joint: BOUND } as const;
  const labels = {
    role: { help: 'Role.', values: ['client', 'server'] },
    peer_kind: joint,
    peer: joint,
    port: { ...joint, max: 16 },
  } as const;
  const counters = Array.from({ length: COUNTERS }, (_, index) => [
    `counter${index}`,
    { ...base, type: 'counter', detail: 'core', name: `netsonde_bench_${index}_total`, labels },
  ]);
  return defineMetrics({
    ...Object.fromEntries(counters),
    open: { ...base, type: 'gauge', detail: 'core', name: 'netsonde_bench_open', labels },
  });
}

interface Flow {
  readonly subject: NetnsId;
  readonly key: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Increase of the flow's first counter per collection. */
  readonly speed: number;
}

function flows(ids: readonly NetnsId[], edges: number): Flow[] {
  return ids.flatMap((subject) =>
    Array.from({ length: edges * ADDRESSES }, (_, key) => {
      const edge = key % edges;
      const labels = { peer_kind: 'service', peer: `shop/backend-${edge >> 1}`, port: String(8_080 + (edge & 1)) };
      return { subject, key, labels, speed: 1_000 + ((edge * 7_919) % 1_000) };
    }),
  );
}

function setUp(edges: number): { readonly rows: number; collect(): void; render(): Promise<number> } {
  const metrics = metricSet();
  const aggregator = new Aggregator(['bench'], () => false);
  aggregator.addProbe('bench', metrics, 'full');
  const ids = Array.from({ length: PODS }, (_, index) => asNetnsId(index + 1));
  const entity = { kind: 'pod', inum: 0, namespace: 'production', uid: '', labels: {} } as const;
  aggregator.entities.set(ids.map((netns) => ({ ...entity, netns, pod: `checkout-6f9c7d5b8-${netns}` })));
  const rows = flows(ids, edges);
  const role = { role: 'client' };
  let round = 0;
  const reader: LooseRowReader<Flow> = {
    subject: ({ subject }) => subject,
    key: ({ key }) => key,
    labels: ({ labels }) => labels,
    samples: ({ speed }, put) => {
      for (let counter = 0; counter < COUNTERS; counter++)
        put(`counter${counter}`, round * speed * (counter + 1), role);
      put('open', 1, role);
    },
  };
  const collect = () => {
    round++;
    const batch = aggregator.begin('bench');
    (batch.emit as LooseEmit).rows(BOUND, rows, reader);
    batch.commit();
    aggregator.fit();
  };
  const render = async () => {
    const writer = new TextWriter();
    await aggregator.render(writer, 'text', freeCycle());
    return writer.finish().reduce((sum, chunk) => sum + chunk.length, 0);
  };
  return { rows: rows.length, collect, render };
}

async function measure(edges: number, collectGarbage: () => void): Promise<Row[]> {
  collectGarbage();
  const before = memory();
  const { rows, collect, render } = setUp(edges);
  for (let warm = 0; warm < 10; warm++) {
    collect();
    await render();
  }
  collectGarbage();
  const held = memory() - before;
  const collectMs = median(await cpuMs(RUNS, collect));
  const renderMs = median(await cpuMs(RUNS, render));
  const allocated: number[] = [];
  for (let run = 0; run < 10; run++) {
    collectGarbage();
    const start = memory();
    collect();
    allocated.push(memory() - start);
  }
  const bytes = await render();
  const bench = `${PODS} Pods with ${edges} edges of ${ADDRESSES} rows, ${SHOWN} shown, ${COUNTERS + 1} series each`;
  return [
    { bench, what: 'rows taken, ranked and summed, CPU (median)', value: collectMs, unit: 'ms' },
    { bench, what: 'the same per row', value: (collectMs * 1e6) / rows, unit: 'ns' },
    { bench, what: 'allocated meanwhile, a row (median)', value: median(allocated) / rows, unit: 'bytes' },
    { bench, what: 'rendered, CPU (median)', value: renderMs, unit: 'ms' },
    { bench, what: 'page', value: bytes / 1e6, unit: 'MB' },
    { bench, what: 'memory held, with the rows of the bench', value: held / 1e6, unit: 'MB' },
  ];
}

function memory(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Measures the joint limit of edge labels, with as many edges as the limit allows and with 50 % more. */
export async function benchEdges(): Promise<Row[]> {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  return [...(await measure(SHOWN, collectGarbage)), ...(await measure(SHOWN * 1.5, collectGarbage))];
}
