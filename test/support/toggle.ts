import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { AgentProcess } from './agent_process.ts';
import { run } from './command.ts';
import { sampleValue } from './exposition.ts';
import type { HostPair } from './hosts.ts';
import { eventually } from './oracle.ts';

/** Environment variables for an agent whose heap is measured. */
export const HEAP_PROBE = { NODE_OPTIONS: `--import=${fileURLToPath(new URL('./heap_probe.ts', import.meta.url))}` };

/**
 * Number of BPF programs of each toggled probe. The programs that report when Pods start and end belong to discovery.
 * They stay loaded when the probe `lifecycle` is off, because short-lived Pods must still get their names.
 */
const SWITCHED = {
  packetloss: 1,
  tcpretrans: 2,
  tcpreset: 2,
  lifecycle: 0,
  qdisc: 1,
  tcpsummary: 3,
  // The other programs of `flow` belong to `tcpsummary` and `tcpconnect`, too.
  flow: 1,
  conntrack: 1,
  sock: 2,
};
const PROGRAMS = Object.values(SWITCHED).reduce((sum, count) => sum + count, 0);
/** More probes that are toggled. Their number of programs depends on the function hooks that this kernel supports. */
const OF_FUNCTIONS = ['kernellatency', 'virtcmdlatency'];
const ALL = [...Object.keys(SWITCHED), ...OF_FUNCTIONS];

function configOf(enabled: boolean): string {
  return JSON.stringify({ detail: 'full', probes: Object.fromEntries(ALL.map((name) => [name, enabled])) });
}
const ON = configOf(true);
const OFF = configOf(false);

export type Write = (directory: string, text: string, generation: number) => void;

/** Writes the file in place, as an editor does. */
export const rewrite: Write = (directory, text, generation) => {
  writeFileSync(join(directory, 'config.yaml'), `# ${generation}\n${text}`);
};

/** Replaces the file as the kubelet does in a mounted ConfigMap. */
export const swap: Write = (directory, text, generation) => {
  const folder = `..data_${generation}`;
  mkdirSync(join(directory, folder));
  writeFileSync(join(directory, folder, 'config.yaml'), text);
  symlinkSync(folder, join(directory, '..data_tmp'));
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  if (generation === 0) symlinkSync('..data/config.yaml', join(directory, 'config.yaml'));
  else rmSync(join(directory, `..data_${generation - 1}`), { recursive: true });
};

export interface ToggleReport {
  readonly slowestMs: number;
  /** Heap size in bytes after garbage collection, by number of toggles. */
  readonly heap: ReadonlyMap<number, number>;
}

/**
 * Adds a firewall rule and a qdisc that drop packets so that the probes packetloss and qdisc have something to count.
 */
export function prepare(pair: HostPair): void {
  pair.a.netns.tc(`qdisc add dev ${pair.deviceA} root tbf rate 1mbit burst 2000 limit 2000`);
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
}

/**
 * Toggles probes `times` times while traffic is running. Checks that each change is applied, that no counter decreases,
 * and that the agent has the same descriptors and programs at the end as at the start.
 */
export async function toggle(
  pair: HostPair,
  directory: string,
  write: Write,
  times: number,
  heapAt: readonly number[] = [],
): Promise<ToggleReport> {
  write(directory, ON, 0);
  await using agent = await AgentProcess.serve(['--config', join(directory, 'config.yaml')], [], HEAP_PROBE);
  await agent.page();
  await eventually(async () => expect(await states(agent)).not.toContain('starting'));
  // One inotify descriptor watches the configuration, and the other watches the names of namespaces.
  await eventually(() => expect(agent.descriptorsOf('anon_inode:inotify')).toBe(2));
  await settle(agent);
  const before = { descriptors: agent.descriptors, programs: agent.programs.length };
  const on = { states: await states(agent), switched: PROGRAMS + (await programsOf(agent, OF_FUNCTIONS)) };
  expect(on.states.slice(0, -OF_FUNCTIONS.length).every((state) => state === 'running')).toBe(true);
  for (const state of on.states) expect(state).toMatch(/^(running|degraded|unsupported)$/);
  const heap = new Map<number, number>();
  let slowestMs = 0;
  let last = await totals(agent, pair);
  for (let generation = 1; generation <= times; generation++) {
    const isOn = generation % 2 === 0;
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 10, bytes: 900 });
    const start = performance.now();
    write(directory, isOn ? ON : OFF, generation);
    await eventually(async () => expect(await states(agent)).toEqual(isOn ? on.states : ALL.map(() => 'stopped')));
    slowestMs = Math.max(slowestMs, performance.now() - start);
    if (isOn) {
      // A probe whose collection took too long is missing from a page, so the check is retried.
      const now = await eventually(async () => {
        const seen = await totals(agent, pair);
        expect(seen).not.toContain(undefined);
        return seen;
      });
      for (const [index, value] of now.entries()) expect(value).toBeGreaterThanOrEqual(last[index] ?? 0);
      last = now;
    } else {
      expect(await totals(agent, pair)).toEqual([undefined, undefined]);
      expect(agent.programs.length).toBe(before.programs - on.switched);
    }
    if (heapAt.includes(generation)) heap.set(generation, await heapOf(agent));
  }
  expect(last.every((value) => (value ?? 0) > 0)).toBe(true);
  await eventually(() => expect(agent.descriptors).toBe(before.descriptors));
  expect(agent.programs.length).toBe(before.programs);
  return { slowestMs, heap };
}

async function states(agent: AgentProcess): Promise<(string | undefined)[]> {
  const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
  return ALL.map((name) => probes.find((probe) => probe.name === name)?.state);
}

async function programsOf(agent: AgentProcess, names: readonly string[]): Promise<number> {
  const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
  return probes.filter(({ name }) => names.includes(name)).reduce((sum, { programs }) => sum + programs.length, 0);
}

async function totals(agent: AgentProcess, pair: HostPair): Promise<(number | undefined)[]> {
  const page = await agent.page();
  return [
    sampleValue(page, 'netsonde_packet_drops_total', { pod: pair.b.netns.name, reason: 'NETFILTER_DROP' }),
    sampleValue(page, 'netsonde_qdisc_drops_total', { pod: pair.a.netns.name }),
  ];
}

/** Waits until the number of open descriptors is stable, because connections of the test itself change it. */
export async function settle(agent: AgentProcess): Promise<void> {
  let last = -1;
  await eventually(() => {
    const now = agent.descriptors;
    const still = now === last;
    last = now;
    expect(still).toBe(true);
  });
}

/** Returns the heap size of an agent that has the heap probe, in bytes after a garbage collection. */
export async function heapOf(agent: AgentProcess): Promise<number> {
  const seen = agent.stderr.length;
  agent.signal('SIGUSR2');
  return eventually(() => {
    const found = /^heap (\d+)$/m.exec(agent.stderr.slice(seen))?.[1];
    expect(found).toBeDefined();
    return Number(found);
  });
}
