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

/** Environment of an agent whose heap is measured. */
export const HEAP_PROBE = { NODE_OPTIONS: `--import=${fileURLToPath(new URL('./heap_probe.ts', import.meta.url))}` };

/**
 * Probes that are switched, and the number of BPF programs of each. The programs that see Pods start and end belong to discovery: they are
 * the one exception to "off leaves nothing", because a short-lived Pod must be named even without the probe `lifecycle`.
 */
const SWITCHED = {
  packetloss: 1,
  tcpretrans: 2,
  tcpreset: 2,
  lifecycle: 0,
  qdisc: 1,
  tcpsummary: 2,
  conntrack: 1,
  sock: 2,
};
const PROGRAMS = Object.values(SWITCHED).reduce((sum, count) => sum + count, 0);
/** Switched as well: their programs depend on the functions that this kernel lets be hooked. */
const OF_FUNCTIONS = ['kernellatency', 'virtcmdlatency'];
const ALL = [...Object.keys(SWITCHED), ...OF_FUNCTIONS];

function configOf(enabled: boolean): string {
  return JSON.stringify({ detail: 'full', probes: Object.fromEntries(ALL.map((name) => [name, enabled])) });
}
const ON = configOf(true);
const OFF = configOf(false);

export type Write = (directory: string, text: string, generation: number) => void;

/** Writes the file as people edit it. */
export const rewrite: Write = (directory, text, generation) => {
  writeFileSync(join(directory, 'config.yaml'), `# ${generation}\n${text}`);
};

/** Updates the file as the kubelet updates a mounted ConfigMap. */
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
  /** Bytes used after garbage collection, at each toggle that was requested. */
  readonly heap: ReadonlyMap<number, number>;
}

/** Drops packets in a hook and in a queue, so that both probes have something to count. */
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
 * Switches some probes off and on, `times` times, under traffic. Each change must be applied, no total may decrease, and in
 * the end descriptors and programs must be what they were.
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
  // They belong to the thread that follows the configuration, and to the one that follows the names of namespaces.
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
      // A page may lack families that took too long.
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

/** Waits until the number of open descriptors is stable: connections of the test to the agent come and go. */
export async function settle(agent: AgentProcess): Promise<void> {
  let last = -1;
  await eventually(() => {
    const now = agent.descriptors;
    const still = now === last;
    last = now;
    expect(still).toBe(true);
  });
}

/** Bytes that an agent with the heap probe still uses after garbage collection. */
export async function heapOf(agent: AgentProcess): Promise<number> {
  const seen = agent.stderr.length;
  agent.signal('SIGUSR2');
  return eventually(() => {
    const found = /^heap (\d+)$/m.exec(agent.stderr.slice(seen))?.[1];
    expect(found).toBeDefined();
    return Number(found);
  });
}
