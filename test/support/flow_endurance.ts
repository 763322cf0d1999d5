import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { REMEMBERED_MS } from '#pods/dead.ts';
import { rssAnonOf } from '../../bench/measure.ts';
import { memoryProbe, threadsOf } from '../../bench/thread_memory.ts';
import { AgentProcess } from './agent_process.ts';
import { sampleValue } from './exposition.ts';
import { FlowTraffic, type TrafficKind } from './flow_traffic.ts';
import { ManyNetns } from './many_netns.ts';
import { type Trend, trendOf } from './trend.ts';

/** Scrape interval. The environment variable ENDURANCE_SCRAPE_MS overrides it for a shorter run with as many scrapes. */
const SCRAPE_MS = Number(process.env['ENDURANCE_SCRAPE_MS'] ?? 15_000);
/** Connections between two scrapes. */
const CONNECTIONS = 120;
/** Number of scrapes before the two namespaces are replaced by new ones. */
const SCRAPES_EACH = 8;
/**
 * Number of other namespaces that are created and removed between two scrapes: 12,000 in two hours. Within the limits,
 * the agent may keep 125 bytes of each.
 */
const BIRTHS = 25;
const WEIGHTS: Partial<Record<TrafficKind, number>> = {
  short: 20,
  chat: 20,
  hold: 3,
  release: 3,
  abort: 5,
  refused: 3,
  given_up: 2,
  time_wait: 2,
};
/**
 * Share of the run after which every buffer and cache of the agent should have its final size, and the minimum time in
 * milliseconds: what the agent remembers of the dead.
 */
const WARM_UP = 0.25;
const WARM_UP_MIN_MS = REMEMBERED_MS + 120_000;
/**
 * Number of records of each kind that the agent keeps. The default of 1,000 incidents would fill up only after an hour.
 */
const HISTORY = 100;
const MB = 1e6;

/**
 * Memory and kernel objects of the agent after a scrape. The memory is measured after both threads have collected their
 * garbage. Otherwise it would depend on V8: its heaps grow for the first ten to twenty minutes, while their content
 * remains the same, because their pages are reused before they are full, and V8 only compacts pages that are nearly
 * empty.
 */
interface Holdings {
  readonly anonymousMB: number;
  readonly mainHeapMB: number;
  readonly kernelHeapMB: number;
  readonly descriptors: number;
  /** Number of series of the node, the agent and the namespaces of this process. */
  readonly series: number;
  readonly mapsMB: number;
  /** Number of namespaces of this process on the page. Dead ones are there for a while. */
  readonly entities: number;
  /** Number of all series on the page, including those of other software on the machine. */
  readonly population: number;
  /** Number of kernel threads that were replaced so far. */
  readonly replaced: number;
  readonly atMs: number;
}

/** Returns the memory of all BPF maps of a process, in megabytes (kernel: kernel/bpf/syscall.c, bpf_map_show_fdinfo). */
function mapsMB(pid: number): number {
  const folder = `/proc/${pid}/fdinfo`;
  const byId = new Map<string, number>();
  for (const fd of readdirSync(folder)) {
    try {
      const text = readFileSync(join(folder, fd), 'utf8');
      const [, bytes] = /^memlock:\s+(\d+)$/m.exec(text) ?? [];
      const [, id] = /^map_id:\s+(\d+)$/m.exec(text) ?? [];
      if (id !== undefined) byId.set(id, Number(bytes));
    } catch (error) {
      // The descriptor was closed after the folder was listed.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return [...byId.values()].reduce((sum, bytes) => sum + bytes, 0) / MB;
}

/** Whether a namespace has a name that `uniqueName` has returned in this process. */
function isOwn(name: string): boolean {
  return name.includes(process.pid.toString(36));
}

async function holdingsOf(agent: AgentProcess): Promise<Holdings> {
  const page = await agent.page();
  const { samples } = page;
  const { main, kernel } = await threadsOf(agent);
  return {
    mainHeapMB: main.used / MB,
    kernelHeapMB: kernel.used / MB,
    anonymousMB: rssAnonOf(agent.pid) / MB,
    descriptors: readdirSync(`/proc/${agent.pid}/fd`).length,
    series: samples.filter(({ labels: { pod = '' } }) => pod === '' || isOwn(pod)).length,
    mapsMB: mapsMB(agent.pid),
    entities: new Set(samples.flatMap(({ labels: { pod = '' } }) => (isOwn(pod) ? [pod] : []))).size,
    population: samples.length,
    replaced: sampleValue(page, 'netsonde_kernel_thread_restarts_total', {}) ?? 0,
    atMs: performance.now(),
  };
}

/** Values whose trend is judged, each with what it grows with. */
const JUDGED = {
  anonymousMB: 'population',
  mainHeapMB: 'population',
  kernelHeapMB: 'population',
  mapsMB: 'population',
  descriptors: 'population',
  series: 'entities',
} as const satisfies Partial<Record<keyof Holdings, keyof Holdings>>;

export type Judged = keyof typeof JUDGED;

/**
 * Runs an agent with the probe `flow` and scrapes it every 15 seconds. Meanwhile, there is traffic between two
 * namespaces, which are replaced every eight scrapes, and in others that live for a moment. Returns the trends of the
 * agent's memory and kernel objects. If the agent has replaced its kernel thread because the machine was too busy, only
 * what follows counts.
 */
export async function endure(minutes: number): Promise<Record<Judged, Trend>> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'endurance-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, JSON.stringify({ events: { history: HISTORY }, probes: { flow: { enabled: true } } }));
  await using agent = await AgentProcess.serve(['--config', config], [], memoryProbe(true));
  const held: Holdings[] = [];
  const runMs = minutes * 60_000;
  const endMs = performance.now() + runMs;
  for (let seed = 0; performance.now() < endMs; seed++) {
    await using traffic = await FlowTraffic.start({ seed: String(seed), workers: 1, addresses: 4 });
    for (let scrape = 0; scrape < SCRAPES_EACH && performance.now() < endMs; scrape++) {
      const due = wait(SCRAPE_MS);
      await traffic.play(WEIGHTS, CONNECTIONS);
      {
        await using _ = await ManyNetns.create(BIRTHS);
        await agent.page();
      }
      await due;
      await agent.page();
    }
    held.push(await holdingsOf(agent));
  }
  const replaced = held.at(-1)?.replaced;
  const since = held.findIndex((holdings) => holdings.replaced === replaced);
  const warmMs = (held[since]?.atMs ?? 0) + Math.max(WARM_UP * runMs, WARM_UP_MIN_MS);
  const kept = held.filter(({ atMs }, index) => index >= since && atMs >= warmMs);
  const trend = (name: Judged) =>
    trendOf(
      kept.map((holdings) => ({ atMs: holdings.atMs, value: holdings[name], population: holdings[JUDGED[name]] })),
      runMs,
    );
  return {
    anonymousMB: trend('anonymousMB'),
    mainHeapMB: trend('mainHeapMB'),
    kernelHeapMB: trend('kernelHeapMB'),
    descriptors: trend('descriptors'),
    series: trend('series'),
    mapsMB: trend('mapsMB'),
  };
}
