import { cpSync, globSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigStatus } from '#api/config.ts';
import type { LedgerReport } from '#api/ledger.ts';
import type { ProbeStatus, ProbesReport } from '#api/probes.ts';
import type { Trouble } from '#api/trouble.ts';
import { readVersion } from '#core/assets.ts';
import { PROBES } from '#probes/index.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { sh } from '../support/command.ts';
import { parseExposition, sampleValue } from '../support/exposition.ts';
import { eventually } from '../support/oracle.ts';
import { promtool } from '../support/promtool.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'agent-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function configFile(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe('the agent without a configuration', () => {
  let agent: AgentProcess;
  beforeAll(async () => {
    agent = await AgentProcess.serve();
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  it('serves a page in which promtool finds no error', async () => {
    const response = await agent.get('/metrics');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await response.text();
    expect(promtool('check', 'metrics', text)).toBe('');
    const { samples } = parseExposition(text);
    const keys = samples.map(({ name, labels }) => `${name}${JSON.stringify(Object.entries(labels).sort())}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(sampleValue(parseExposition(text), 'netsonde_page_age_seconds', {})).toBe(0);
    expect(sampleValue(parseExposition(text), 'netsonde_config_last_reload_successful', {})).toBe(1);
  });

  it('serves OpenMetrics to clients that prefer it, compressed if they accept that', async () => {
    const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5';
    const response = await agent.get('/metrics', { accept, 'accept-encoding': 'gzip' });
    expect(response.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(response.headers.get('content-encoding')).toBe('gzip');
    const text = await response.text();
    expect(text.endsWith('# EOF\n')).toBe(true);
    expect(text.match(/^# EOF$/gm)).toHaveLength(1);
    const page = parseExposition(text);
    expect(page.types.get('netsonde_tcp_active_opens')).toBe('counter');
    expect(sampleValue(page, 'netsonde_tcp_active_opens_total', { namespace: '', pod: '' })).toBeGreaterThanOrEqual(0);
    const plain = await agent.get('/metrics', { 'accept-encoding': 'identity' });
    expect(plain.headers.get('content-encoding')).toBeNull();
  });

  it('serves one gzip member: curl, which ignores a second one, gets the end of the page', () => {
    const text = sh(
      `curl --silent --fail --compressed --header Accept:application/openmetrics-text ${agent.url}/metrics`,
    );
    for (const family of ['process_start_time_seconds', 'netsonde_tcp_active_opens'])
      expect(text).toContain(`# TYPE ${family} `);
    expect(text.endsWith('# EOF\n')).toBe(true);
  });

  it('reports the state of each probe', async () => {
    const { discovery, probes } = await agent.json<ProbesReport>('/api/v1/probes');
    expect(discovery).toMatchObject({ name: 'discovery', state: 'running', reader: 'tp_btf', reason: '' });
    expect(discovery.programs).toHaveLength(3);
    for (const { id } of discovery.programs) expect(agent.programs).toContain(String(id));
    expect(probes.map(({ name, state }) => `${name} ${state}`)).toEqual(
      PROBES.map(({ name, enabledByDefault }) => `${name} ${enabledByDefault ? 'running' : 'stopped'}`),
    );
    const packetloss = probes.find(({ name }) => name === 'packetloss');
    expect(packetloss?.programs).toEqual([expect.objectContaining({ hook: 'tp_btf/kfree_skb' })]);
    expect(agent.programs).toContain(String(packetloss?.programs[0]?.id));
    expect(probes[0]).toMatchObject({ kind: 'procfs', cost: 'low', reader: 'pass', reason: '', until: null });
    expect(probes[0]?.collectSeconds).toBeGreaterThan(0);
  });

  it('is alive, ready, and has a page with all its files', async () => {
    expect((await agent.get('/healthz')).status).toBe(200);
    expect((await agent.get('/readyz')).status).toBe(200);
    const html = await (await agent.get('/')).text();
    for (const [, path = ''] of html.matchAll(/(?:href|src)="(\/[^"]+)"/g)) {
      const response = await agent.get(path);
      expect(response.status, path).toBe(200);
      await response.body?.cancel();
    }
  });

  it('shares one collection among many requests for trouble', async () => {
    const first = await agent.json<Trouble>('/api/v1/trouble');
    const second = await agent.json<Trouble>('/api/v1/trouble');
    expect(second.collected).toBe(first.collected);
    const node = first.entities.find(({ kind }) => kind === 'node');
    expect(node?.values[first.metrics.indexOf('netsonde_tcp_sent_segments_total')]).toBeGreaterThan(0);
    await eventually(async () => {
      expect((await agent.json<Trouble>('/api/v1/trouble')).collected).not.toBe(first.collected);
    });
  });

  it('reports the active configuration, and the outcome of events', async () => {
    const { document } = await agent.json<{ document: { detail: string } }>('/api/v1/config');
    expect(document.detail).toBe('core');
    const { probes, sinks } = await agent.json<LedgerReport>('/api/v1/ledger');
    expect(probes.map(({ probe }) => probe)).toContain('packetloss');
    expect(sinks.every(({ sink }) => sink === 'stdout')).toBe(true);
    const { version, kernel, kubernetes, now, started } = await agent.json<AgentReport>('/api/v1/agent');
    expect({ version, kernel, kubernetes }).toEqual({ version: readVersion(), kernel: release(), kubernetes: null });
    expect(Date.parse(now)).toBeGreaterThan(Date.parse(started));
  });

  it('is read-only, and reports unknown paths and parameters clearly', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`${agent.url}/api/v1/probes`, { method });
      expect(response.status).toBe(405);
      expect(response.headers.get('allow')).toBe('GET, HEAD');
    }
    expect((await agent.get('/nothing')).status).toBe(404);
    const bad = await agent.get('/api/v1/events?folow=true');
    expect(bad.status).toBe(400);
    expect(await bad.text()).toContain('no such parameter: folow');
    expect((await agent.get('/api/v1/events?since=yesterday')).status).toBe(400);
    expect((await agent.get('/api/v1/events?follow=maybe')).status).toBe(400);
  });

  it('ends cleanly on SIGTERM', async () => {
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(
      agent.stdout
        .split('\n')
        .filter((line) => line !== '')
        .every((line) => JSON.parse(line).probe !== ''),
    ).toBe(true);
  });
});

describe('an invalid start ends with one clear message', () => {
  it('all errors of a configuration', async () => {
    const file = configFile('faulty.yaml', 'probes: { packetlos: {} }\ndetail: 5\n');
    await using agent = AgentProcess.run(['serve', '--config', file]);
    expect((await agent.exited).code).toBe(1);
    expect(agent.stderr).toContain('probes.packetlos: unknown key (did you mean packetloss?)');
    expect(agent.stderr).toContain('detail: 5 is not allowed; allowed: one of core, full');
    expect(agent.stderr).not.toContain('    at ');
  });

  it('a missing configuration', async () => {
    await using agent = AgentProcess.run(['serve', '--config', join(directory, 'missing.yaml')]);
    expect((await agent.exited).code).toBe(1);
    expect(agent.stderr).toMatch(/the document: cannot be read: --config: ENOENT.*missing\.yaml/);
  });

  it('a port in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    await using agent = AgentProcess.run(['serve', '--listen', `127.0.0.1:${port}`]);
    expect((await agent.exited).code).toBe(1);
    expect(agent.stderr).toMatch(new RegExp(`^netsonde: listen EADDRINUSE: .*127\\.0\\.0\\.1:${port}\n$`));
    server.close();
  });

  it.each([
    [['serve', '--proc', '/nonexistent'], /^netsonde: --proc \/nonexistent: .*\n$/],
    [['serve', '--proc', '/usr'], /^netsonde: --proc \/usr: no procfs is mounted there .*\n$/],
    [['check', '--sys', '/usr'], /^netsonde: --sys \/usr: no sysfs is mounted there .*\n$/],
    [['serve', '--cgroup', '/nonexistent'], /^netsonde: --cgroup \/nonexistent: .*\n$/],
    [['serve', '--listen', 'nowhere'], /^netsonde: --listen nowhere: give HOST:PORT.*\n$/],
    [['serve', '--verbose'], /^netsonde: Unknown option '--verbose'.*\n$/],
    [['check', 'extra'], /^netsonde: Unexpected argument 'extra'.*\n$/],
  ])('%j', async (args, message) => {
    await using agent = AgentProcess.run(args);
    expect((await agent.exited).code).toBe(1);
    expect(agent.stderr).toMatch(message);
  });

  it('no addon, no BPF objects and no page: the parts that need them report why, the rest runs', async () => {
    const root = mkdtempSync(join(directory, 'bare-'));
    mkdirSync(join(root, 'dist'), { recursive: true });
    for (const path of ['package.json', 'bin', ...globSync('dist/*.js', { cwd: PROJECT })]) {
      cpSync(join(PROJECT, path), join(root, path), { recursive: true });
    }
    symlinkSync(join(PROJECT, 'node_modules'), join(root, 'node_modules'));
    const withQueues = configFile('queues.yaml', 'probes: { qdisc: true }\n');
    const rows = sh(`${root}/bin/netsonde check --config ${withQueues}`).split('\n');
    const row = (probe: string) => rows.find((line) => line.startsWith(`${probe} `)) ?? '';
    expect(row('packetloss')).toMatch(
      / unsupported .*the addon cannot be loaded: bpf_napi.node was not built; run scripts\/setup/,
    );
    expect(row('qdisc')).toMatch(/ unsupported .*the addon cannot be loaded/);
    expect(row('tcpsummary')).toMatch(/ unsupported .*the addon cannot be loaded/);
    expect(row('tcp')).toMatch(/ running /);
    const instead = ['sh', '-c', `shift; exec ${root}/bin/netsonde "$@"`, 'sh'];
    await using bare = await AgentProcess.serve([], instead);
    const page = await bare.get('/');
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/plain; charset=utf-8']);
    expect(await page.text()).toContain('was not built; run scripts/setup');
    expect((await bare.get('/metrics')).status).toBe(200);
  });

  it('no command, or an unknown one, prints the usage', async () => {
    await using none = AgentProcess.run([]);
    expect((await none.exited).code).toBe(2);
    expect(none.stderr).toContain('netsonde serve');
    await using wrong = AgentProcess.run(['observe']);
    expect((await wrong.exited).code).toBe(2);
    expect(wrong.stderr).toContain('no such command: observe');
  });
});

describe('the other commands', () => {
  it('check opens every probe and prints its state', async () => {
    const file = configFile('check.yaml', 'probes: { softnet: false }\n');
    await using agent = AgentProcess.run(['check', '--config', file]);
    expect((await agent.exited).code).toBe(0);
    expect(agent.stdout).toMatch(/^PROBE +STATE +READER +REASON$/m);
    expect(agent.stdout).toMatch(/^discovery +running +tp_btf$/m);
    expect(agent.stdout).toMatch(/^discovery +Pods as soon as they start +tp_btf\/sched_process_exec$/m);
    expect(agent.stdout).toMatch(/^softnet +stopped$/m);
    expect(agent.stdout).toMatch(/^packetloss +running +tp_btf\/kfree_skb$/m);
    expect(agent.stdout).toMatch(/^PROBE +SEES +HOOK +REASON$/m);
    expect(agent.stdout).toMatch(/^packetloss +dropped packets +tp_btf\/kfree_skb$/m);
  });

  it('check fails on an invalid configuration, with every error', async () => {
    const file = configFile('bad.yaml', 'a: 1\nb: 2\n');
    await using agent = AgentProcess.run(['check', '--config', file]);
    expect((await agent.exited).code).toBe(1);
    expect(agent.stdout.trim().split('\n')).toHaveLength(2);
  });

  it('probes lists the catalogue', async () => {
    await using agent = AgentProcess.run(['probes']);
    expect((await agent.exited).code).toBe(0);
    expect(agent.stdout).toMatch(/^packetloss +ebpf +low +on +Packets that the kernel drops/m);
  });

  it('idle waits until it gets a signal', async () => {
    await using agent = AgentProcess.run(['idle']);
    await eventually(() => expect(agent.stderr).toContain('idle until SIGTERM'));
    agent.signal('SIGTERM');
    expect(await agent.exited).toMatchObject({ code: 0, signal: null });
  });

  it('--help and --version', async () => {
    await using help = AgentProcess.run(['serve', '--help']);
    expect((await help.exited).code).toBe(0);
    expect(help.stdout).toContain('--listen HOST:PORT');
    for (const args of [['--version'], ['serve', '--version']]) {
      await using version = AgentProcess.run(args);
      await version.exited;
      expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    }
  });
});

describe('without any capability', () => {
  const WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all', '--no-new-privs'];

  it('the agent runs the probes that work, and reports what the others lack', async () => {
    const withQueues = configFile('queues.yaml', 'probes: { qdisc: true }\n');
    await using agent = await AgentProcess.serve(['--config', withQueues], WITHOUT_CAPABILITIES);
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const byName = new Map(probes.map((probe) => [probe.name, probe]));
    expect(byName.get('tcp')).toMatchObject({ state: 'degraded', reader: 'files' });
    expect(byName.get('tcp')?.reason).toMatch(/^CAP_SYS_PTRACE is missing, so .* not seen \(\d+ processes\)(?:;|$)/);
    expect(byName.get('softnet')).toMatchObject({ state: 'running', reason: '' });
    expect(byName.get('packetloss')).toMatchObject({ state: 'unsupported' });
    expect(byName.get('packetloss')?.reason).toMatch(/CAP_BPF and CAP_PERFMON are missing/);
    expect(byName.get('packetloss')?.reason).not.toMatch(/memlock|ulimit/);
    expect(byName.get('qdisc')).toMatchObject({ state: 'unsupported' });
    expect(byName.get('qdisc')?.reason).toMatch(/CAP_SYS_ADMIN/);
    expect(byName.get('tcpsummary')).toMatchObject({ state: 'unsupported' });
    expect(byName.get('tcpsummary')?.reason).toMatch(/CAP_SYS_ADMIN.*CAP_BPF and CAP_PERFMON are missing/);
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_tcp_active_opens_total', { namespace: '', pod: '' })).toBeGreaterThanOrEqual(0);
    expect(sampleValue(page, 'netsonde_probe_state', { probe: 'packetloss', state: 'unsupported' })).toBe(1);
    await using check = AgentProcess.run(['check'], WITHOUT_CAPABILITIES);
    expect((await check.exited).code).toBe(0);
    expect(check.stdout).toMatch(/^packetloss +unsupported/m);
    await using strict = AgentProcess.run(['check', '--strict'], WITHOUT_CAPABILITIES);
    expect((await strict.exited).code).toBe(1);
  });
});

describe('a bad reload', () => {
  it('keeps the active configuration, shows every error, and the next good one is applied', async () => {
    const file = configFile('live.yaml', 'probes: { udp: false }\n');
    await using agent = await AgentProcess.serve(['--config', file]);
    const status = () => agent.json<ConfigStatus>('/api/v1/config');
    const successful = async () => sampleValue(await agent.page(), 'netsonde_config_last_reload_successful', {});
    expect(await status()).toMatchObject({ file, generation: 1, successful: true, rejected: null });
    for (const text of ['', '\0\xff garbage', '{']) {
      const { generation } = await status();
      writeFileSync(file, text);
      await eventually(async () => expect(await status()).toMatchObject({ generation, successful: false }));
      expect(await successful()).toBe(0);
      expect(sampleValue(await agent.page(), 'netsonde_probe_state', { probe: 'udp', state: 'stopped' })).toBe(1);
      writeFileSync(file, `probes: { udp: false } # after ${generation}\n`);
      await eventually(async () =>
        expect(await status()).toMatchObject({ generation: generation + 1, successful: true }),
      );
    }
    writeFileSync(file, 'probes: { udp: maybe, tpc: {} }');
    await eventually(async () => expect(await status()).toMatchObject({ successful: false }));
    expect((await status()).rejected?.faults.map(({ path }) => path)).toEqual(['probes.udp', 'probes.tpc']);
    expect(agent.stderr).toContain('did you mean tcp?');
    writeFileSync(file, '{}');
    await eventually(async () => expect(await status()).toMatchObject({ successful: true }));
    expect(await successful()).toBe(1);
    expect(sampleValue(await agent.page(), 'netsonde_probe_state', { probe: 'udp', state: 'running' })).toBe(1);
  });
});
