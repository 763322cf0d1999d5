import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AgentProcess } from '../test/support/agent_process.ts';
import { TestKernel } from '../test/support/kernel.ts';
import { eventually } from '../test/support/oracle.ts';
import { cpuMs, median, Namespaces, quantile, type Row, wallMs } from './measure.ts';

const NAMESPACES = 250;
const SCRAPES = 50;
const YOUNG_MS = 11_000;
const LOOP_PROBE = fileURLToPath(new URL('./loop_probe.ts', import.meta.url));

/**
 * Measures the CPU time of a scrape with many namespaces, and the delay that it causes in the agent's two event loops.
 */
export async function benchScrape(): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(NAMESPACES);
  // The agent repeatedly scans new namespaces until they are ten seconds old (src/pods/registry.ts).
  await wait(YOUNG_MS);
  return [...(await inProcess()), ...(await asAgent())];
}

async function inProcess(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const detail of ['core', 'full']) {
    await using agent = await TestKernel.open(`detail: ${detail}`);
    const scrape = () => agent.kernel.page('text');
    await cpuMs(10, scrape);
    const times = await cpuMs(SCRAPES, scrape);
    const { samples } = await agent.page();
    const bench = `a scrape of ${NAMESPACES + 1} namespaces, ${detail}`;
    rows.push({ bench, what: 'collected and rendered, CPU (median)', value: median(times), unit: 'ms' });
    rows.push({ bench, what: 'series', value: samples.length, unit: '' });
    if (detail === 'core') rows.push(...(await byProbe(agent, bench)));
  }
  return rows;
}

async function byProbe(agent: TestKernel, bench: string): Promise<Row[]> {
  const seconds = new Map<string, number[]>();
  for (let scrape = 0; scrape < SCRAPES; scrape++) {
    await agent.kernel.page('text');
    for (const { name, collectSeconds } of agent.kernel.probes()) {
      seconds.set(name, [...(seconds.get(name) ?? []), collectSeconds ?? 0]);
    }
  }
  return [...seconds].map(([name, times]) => ({
    bench,
    what: `${name} (median)`,
    value: median(times) * 1000,
    unit: 'ms',
  }));
}

/**
 * Measures the delays of both event loops in a real agent while it is scraped over HTTP with compression, as by
 * Prometheus.
 */
async function asAgent(): Promise<Row[]> {
  await using agent = await AgentProcess.serve([], [], { NODE_OPTIONS: `--import=${LOOP_PROBE}` });
  const scrape = async () => {
    await (await agent.get('/metrics', { 'accept-encoding': 'gzip' })).arrayBuffer();
    await wait(50);
  };
  await wallMs(10, scrape);
  agent.signal('SIGUSR2');
  await eventually(() => loopDelays(agent));
  const seen = agent.stderr.length;
  const times = await wallMs(SCRAPES, scrape);
  agent.signal('SIGUSR2');
  const delays = await eventually(() => loopDelays(agent, seen));
  const bench = `${SCRAPES} scrapes of ${NAMESPACES + 1} namespaces over HTTP`;
  return [
    { bench, what: 'answered in (p99)', value: quantile(times, 0.99) - 50, unit: 'ms' },
    ...[...delays].map(([thread, delay]) => ({
      bench,
      what: `event-loop delay, ${thread} thread (p99)`,
      value: delay,
      unit: 'ms',
      bound: { atMost: 20 },
    })),
  ];
}

/** Returns the 99th percentile of each thread's event-loop delay since the previous call. */
function loopDelays(agent: AgentProcess, from = 0): Map<string, number> {
  const found = [...agent.stderr.slice(from).matchAll(/^loop (\w+) (\S+)$/gm)];
  if (found.length < 2) throw new Error('not all threads have answered');
  return new Map(found.map(([, thread = '', delay]) => [thread, Number(delay)]));
}
