import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { rssAnonOf } from '../../bench/measure.ts';
import { memoryProbe, threadsOf } from '../../bench/thread_memory.ts';
import { AgentProcess } from './agent_process.ts';
import { FlowTraffic, type TrafficKind } from './flow_traffic.ts';

/** Scrape interval. The environment variable ENDURANCE_SCRAPE_MS overrides it for a shorter run with as many scrapes. */
const SCRAPE_MS = Number(process.env['ENDURANCE_SCRAPE_MS'] ?? 15_000);
/** Connections between two scrapes. */
const CONNECTIONS = 120;
/** Number of scrapes before the two namespaces are replaced by new ones. */
const SCRAPES_EACH = 8;
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
/** Share of the run after which every buffer and cache of the agent should have its final size. */
const WARM_UP = 0.25;
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
  readonly series: number;
  readonly mapsMB: number;
}

export interface Slope {
  readonly median: number;
  /** Change over the whole run, according to a line fitted to the samples after the warm-up. */
  readonly change: number;
}

/** Fits a line to samples. @param samples values that were taken at regular intervals */
export function slopeOf(samples: readonly number[]): Slope {
  const kept = samples.slice(Math.floor(samples.length * WARM_UP));
  const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
  const middle = (kept.length - 1) / 2;
  const products = kept.reduce((sum, value, index) => sum + (index - middle) * (value - mean), 0);
  const squares = kept.reduce((sum, _, index) => sum + (index - middle) ** 2, 0);
  const sorted = kept.toSorted((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, change: (products / squares) * samples.length };
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

async function holdingsOf(agent: AgentProcess): Promise<Holdings> {
  const { samples } = await agent.page();
  const { main, kernel } = await threadsOf(agent);
  return {
    mainHeapMB: main.used / MB,
    kernelHeapMB: kernel.used / MB,
    anonymousMB: rssAnonOf(agent.pid) / MB,
    descriptors: readdirSync(`/proc/${agent.pid}/fd`).length,
    series: samples.length,
    mapsMB: mapsMB(agent.pid),
  };
}

/**
 * Runs an agent with the probe `flow` and scrapes it every 15 seconds. Meanwhile, there is traffic between two
 * namespaces, which are replaced every eight scrapes. Returns the agent's memory and kernel objects at these times, and
 * their changes.
 */
export async function endure(minutes: number): Promise<Record<keyof Holdings, Slope>> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'endurance-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, JSON.stringify({ events: { history: HISTORY }, probes: { flow: { enabled: true } } }));
  await using agent = await AgentProcess.serve(['--config', config], [], memoryProbe(true));
  const held: Holdings[] = [];
  const endMs = performance.now() + minutes * 60_000;
  for (let seed = 0; performance.now() < endMs; seed++) {
    await using traffic = await FlowTraffic.start({ seed: String(seed), workers: 1, addresses: 4 });
    for (let scrape = 0; scrape < SCRAPES_EACH && performance.now() < endMs; scrape++) {
      const due = wait(SCRAPE_MS);
      await traffic.play(WEIGHTS, CONNECTIONS);
      await due;
      await agent.page();
    }
    held.push(await holdingsOf(agent));
  }
  const slope = (name: keyof Holdings) => slopeOf(held.map((holdings) => holdings[name]));
  return {
    anonymousMB: slope('anonymousMB'),
    mainHeapMB: slope('mainHeapMB'),
    kernelHeapMB: slope('kernelHeapMB'),
    descriptors: slope('descriptors'),
    series: slope('series'),
    mapsMB: slope('mapsMB'),
  };
}
