import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigStatus } from '#api/config.ts';
import type { ProbeReport } from '#api/probes.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { sampleValue } from '../support/exposition.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

let scratch: Awaited<ReturnType<typeof mkdtempDisposable>>;
let files = 0;

beforeAll(async () => {
  scratch = await mkdtempDisposable(join(tmpdir(), 'control-'));
});

afterAll(() => scratch?.remove());

/** Creates a configuration file and a state directory. */
function place(text: string): { file: string; args: readonly string[] } {
  files++;
  const file = join(scratch.path, `config-${files}.yaml`);
  writeFileSync(file, text);
  return { file, args: ['--config', file, '--state', join(scratch.path, `state-${files}`)] };
}

async function probe(agent: AgentProcess, name: string): Promise<ProbeReport> {
  const { probes } = await agent.json<{ probes: ProbeReport[] }>('/api/v1/probes');
  const found = probes.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no probe ${name}`);
  return found;
}

describe.concurrent('a section with for or until', () => {
  it('of 5 s reverts by itself, and an edit elsewhere does not extend it', async () => {
    const { file, args } = place(only({ softnet: true }));
    await using agent = await AgentProcess.serve(args);
    const section = { softirq: { enabled: true, for: '5s' }, softnet: { enabled: false, for: '5s' } };
    writeFileSync(file, only(section));
    const start = Date.now();
    const { until } = await eventually(async () => {
      const found = await probe(agent, 'softirq');
      expect(found.state).toBe('running');
      return found;
    });
    const seenMs = Date.now();
    expect(await probe(agent, 'softnet')).toMatchObject({ state: 'stopped', until: expect.stringMatching(/Z$/) });
    expect(await probe(agent, 'packetloss')).toMatchObject({ until: null });
    const endMs = Date.parse(until ?? '');
    expect(endMs - start).toBeGreaterThanOrEqual(5_000);
    expect(endMs - seenMs).toBeLessThanOrEqual(5_000);
    writeFileSync(file, only(section, { detail: 'full' }));
    await eventually(async () => expect((await agent.json<ConfigStatus>('/api/v1/config')).generation).toBe(3));
    expect(await probe(agent, 'softirq')).toMatchObject({ state: 'running', until });
    await eventually(async () => expect((await probe(agent, 'softirq')).state).toBe('stopped'));
    expect(Date.now()).toBeGreaterThanOrEqual(endMs);
    expect(await probe(agent, 'softirq')).toMatchObject({ until: null });
    await eventually(async () =>
      expect(await probe(agent, 'softnet')).toMatchObject({ state: 'running', until: null }),
    );
    expect(await agent.json<ConfigStatus>('/api/v1/config')).toMatchObject({ generation: 3, successful: true });
    expect(agent.stderr).toContain('probes.softirq: expired');
  });

  it('survives a restart in the middle, and stays reverted after another one', async () => {
    const { args } = place(only({ softirq: { enabled: true, for: '20s' } }));
    let until: string | null;
    {
      await using agent = await AgentProcess.serve(args);
      const first = await probe(agent, 'softirq');
      expect(first.state).toBe('running');
      until = first.until;
    }
    {
      await using agent = await AgentProcess.serve(args);
      expect(await probe(agent, 'softirq')).toMatchObject({ state: 'running', until });
      await eventually(async () => expect((await probe(agent, 'softirq')).state).toBe('stopped'), 60_000);
      expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(until ?? ''));
    }
    await using agent = await AgentProcess.serve(args);
    expect(await probe(agent, 'softirq')).toMatchObject({ state: 'stopped', until: null });
  });

  it('that expired long ago is refused, but does not keep an agent from starting', async () => {
    const over = only({ softirq: { enabled: true, until: '2020-01-01T00:00:00Z' } });
    const { file, args } = place(over);
    await using agent = await AgentProcess.serve(args);
    expect(await probe(agent, 'softirq')).toMatchObject({ state: 'stopped', until: null });
    expect(agent.stderr).toContain('probes.softirq: expired before the agent started');
    writeFileSync(file, `${over} # the same`);
    await eventually(async () =>
      expect(await agent.json<ConfigStatus>('/api/v1/config')).toMatchObject({ generation: 2, successful: true }),
    );
    writeFileSync(file, over.replace('2020', '2021'));
    await eventually(async () =>
      expect((await agent.json<ConfigStatus>('/api/v1/config')).rejected?.faults[0]).toMatchObject({
        path: 'probes.softirq.until',
        value: '"2021-01-01T00:00:00.000Z"',
      }),
    );
    await using check = AgentProcess.run(['check', '--config', file]);
    expect((await check.exited).code).toBe(1);
    expect(check.stdout).toContain('probes.softirq.until: "2021-01-01T00:00:00.000Z" is not allowed');
  });

  it('runs if nothing can be written, and the agent reports that', async () => {
    const { file } = place(only({ softirq: { enabled: true, for: '4s' } }));
    await using agent = await AgentProcess.serve(['--config', file, '--state', '/proc/nothing']);
    expect(agent.stderr).toMatch(/cannot write \/proc\/nothing\/timed\.json \(.*\), so `for` starts again/);
    await eventually(async () => expect((await probe(agent, 'softirq')).state).toBe('stopped'));
  });
});

it('overrides apply to nodes with their labels', async () => {
  const { args } = place(
    'nodes: { "pool=edge,!spot": { probes: { softnet: false } }, pool=core: { probes: { udp: false } } }',
  );
  const labels = ['--node-label', 'pool=edge', '--node-label', 'kubernetes.io/hostname=x'];
  await using agent = await AgentProcess.serve([...args, ...labels]);
  expect((await probe(agent, 'softnet')).state).toBe('stopped');
  expect((await probe(agent, 'udp')).state).toBe('running');
  await using wrong = AgentProcess.run(['serve', ...args, '--node-label', 'pool']);
  expect((await wrong.exited).code).toBe(1);
  expect(wrong.stderr).toBe('netsonde: --node-label pool: give KEY=VALUE, like topology.kubernetes.io/zone=a\n');
});

/** Returns whether the process has enabled the kernel's BPF statistics. */
function holdsStatistics({ pid }: AgentProcess): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).includes('bpf-stats');
    } catch {
      return false;
    }
  });
}

it('run times are measured, and shown, while the configuration asks for them', async () => {
  const packetloss = only({ packetloss: true });
  const { file, args } = place(packetloss);
  await using agent = await AgentProcess.serve(args);
  const runs = async () => sampleValue(await agent.page(), 'netsonde_probe_bpf_runs_total', { probe: 'packetloss' });
  expect(holdsStatistics(agent)).toBe(false);
  expect(await runs()).toBeUndefined();
  for (const asks of [only({ packetloss: true }, { bpfStats: true }), only({ packetloss: { budget: '50%' } })]) {
    writeFileSync(file, asks);
    await eventually(() => expect(holdsStatistics(agent)).toBe(true));
    await eventually(async () => expect(await runs()).toBeGreaterThanOrEqual(0));
    writeFileSync(file, `${packetloss} # without ${asks}`);
    await eventually(() => expect(holdsStatistics(agent)).toBe(false));
    expect(await runs()).toBeUndefined();
  }
  writeFileSync(file, only({ tcp: { budget: '50%' } }));
  await eventually(async () => expect((await agent.json<ConfigStatus>('/api/v1/config')).generation).toBe(6));
  expect(holdsStatistics(agent)).toBe(false);
});

it('a probe over its budget trips, and reports when it is retried', async () => {
  using netns = new TestNetns();
  netns.ip('link set lo up');
  const { args } = place(only({ packetloss: { budget: '0.05%', events: false }, udp: true }));
  await using agent = await AgentProcess.serve(args);
  expect((await probe(agent, 'packetloss')).state).toBe('running');
  const start = performance.now();
  await using _storm = await startPython(
    netns,
    `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('127.0.0.1', 7011))
print('ready')
while True:
  try: s.send(b'x')
  except ConnectionRefusedError: pass
`,
  );
  await eventually(async () => expect((await probe(agent, 'packetloss')).state).toBe('failed'), 60_000);
  process.stdout.write(`over budget after ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  const { reason, programs, since } = await probe(agent, 'packetloss');
  process.stdout.write(`${reason}\n`);
  expect(reason).toMatch(
    /^took [\d.]+ % of a CPU for \d+ s, its budget is 0\.05 % \(BPF programs [\d.]+ %, collecting [\d.]+ %\); it will be retried at 20\S+Z$/,
  );
  expect(programs).toEqual([]);
  expect(Date.parse(reason.slice(-24)) - Date.parse(since)).toBeGreaterThan(20_000);
  const page = await agent.page();
  expect(sampleValue(page, 'netsonde_probe_state', { probe: 'packetloss', state: 'failed' })).toBe(1);
  expect(sampleValue(page, 'netsonde_probe_state', { probe: 'udp', state: 'running' })).toBe(1);
});
