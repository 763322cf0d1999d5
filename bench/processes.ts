import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel, type NetnsKernel } from '#pods/netns_kernel.ts';
import { ProcessGroups } from '#pods/process_groups.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { PROBES } from '#probes/index.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { CGROUP_V2 } from '../test/support/cgroups.ts';
import { TestNetns } from '../test/support/hosts.ts';
import { OBJECTS, TestKernel } from '../test/support/kernel.ts';
import { eventually } from '../test/support/oracle.ts';
import { cpuMs, median, type Row } from './measure.ts';

const PODS = 110;
const PROCESSES = 20;
const DESCRIPTORS = 50;
const RUNS = 20;

const SCRIPT = fileURLToPath(new URL('./pods.py', import.meta.url));

/** Creates Pods whose processes are in the Pods' own cgroups. Disposing of the result removes the Pods. */
async function createPods(): Promise<AsyncDisposable> {
  const cgroup = join(CGROUP_V2, `bench-${process.pid}`);
  mkdirSync(cgroup);
  const args = [SCRIPT, cgroup, PODS, PROCESSES, DESCRIPTORS].map(String);
  const leader = spawn('python3', args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const gone = once(leader, 'exit');
  await once(leader.stdout, 'data');
  return {
    [Symbol.asyncDispose]: async () => {
      process.kill(-(leader.pid ?? 0), 'SIGKILL');
      await gone;
      await eventually(() => removeBelow(cgroup), 20_000);
    },
  };
}

function removeBelow(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeBelow(join(folder, entry.name));
  }
  rmdirSync(folder);
}

/** Measures the CPU time of a scrape with one probe enabled, or with none. */
async function scrapeMs(probe?: string, options: object = {}): Promise<number> {
  const off = Object.fromEntries(PROBES.map(({ name }) => [name, false]));
  const on = probe === undefined ? {} : { [probe]: { enabled: true, ...options } };
  await using agent = await TestKernel.open(JSON.stringify({ probes: { ...off, ...on } }));
  const scrape = () => agent.kernel.page('text');
  await cpuMs(3, scrape);
  return median(await cpuMs(RUNS, scrape));
}

/**
 * Measures the CPU time of finding the owners of processes, either from the Pods' cgroups or by reading every process
 * on the machine.
 */
async function listMs(cgroup: string): Promise<number> {
  using kernel = await openKernel();
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  await new Scanner(DEFAULT_PATHS, kernel, registry).refresh();
  const groups = new ProcessGroups({ ...DEFAULT_PATHS, cgroup }, () => registry.owners(), new SourceErrors());
  const read = () => groups.list(freeCycle());
  await cpuMs(3, read);
  return median(await cpuMs(RUNS, read));
}

/**
 * Measures the CPU time of a scan while a new namespace has no container yet, in which case each scan reads all
 * processes.
 */
async function refreshMs(open: () => Promise<NetnsKernel & Disposable>): Promise<number> {
  using kernel = await open();
  using netns = new TestNetns();
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  const scanner = new Scanner(DEFAULT_PATHS, kernel, registry);
  const refresh = () => scanner.refresh();
  await cpuMs(3, refresh);
  const took = median(await cpuMs(RUNS, refresh));
  if (!registry.owners().some(({ entity }) => entity.pod === netns.name)) throw new Error('the namespace is not seen');
  return took;
}

function openKernel(): Promise<BpfNetnsKernel> {
  return BpfNetnsKernel.open(new BpfSource(OBJECTS, '/sys'), DEFAULT_PATHS.proc, () => undefined);
}

/** A fake source without the process walk, so the agent reads /proc. */
async function openWithoutWalk(): Promise<NetnsKernel & Disposable> {
  const kernel = await openKernel();
  return {
    list: (cycle) => kernel.list(cycle),
    processes: async () => undefined,
    cookie: (path) => kernel.cookie(path),
    [Symbol.dispose]: () => kernel[Symbol.dispose](),
  };
}

/** Measures discovery, and probes that read every process. */
export async function benchProcesses(): Promise<Row[]> {
  await using _pods = await createPods();
  const bench = `${PODS} Pods of ${PROCESSES} processes of ${DESCRIPTORS} descriptors, CPU (median)`;
  const row = (what: string, value: number): Row => ({ bench, what, value, unit: 'ms' });
  const nothing = await scrapeMs();
  return [
    row('discovery beside a young namespace, walk', await refreshMs(openKernel)),
    row('discovery beside a young namespace, files', await refreshMs(openWithoutWalk)),
    row('listed by cgroups', await listMs(DEFAULT_PATHS.cgroup)),
    row('listed by namespaces', await listMs('/nonexistent')),
    row('io', (await scrapeMs('io')) - nothing),
    row('fd, sockets not counted', (await scrapeMs('fd', { sockets: false })) - nothing),
    row('fd', (await scrapeMs('fd')) - nothing),
  ];
}
