import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SinksReport } from '#api/sinks.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { sh } from '../support/command.ts';
import { Hangs } from '../support/hangs.ts';
import { TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

let folder: string;
let config: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'endings-'));
  config = join(folder, 'config.yaml');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a kubeconfig for a server, and returns its path. */
function kubeconfig(server: string): string {
  const path = join(folder, 'kubeconfig');
  const named = { name: 'x' };
  writeFileSync(
    path,
    JSON.stringify({
      // The client library accepts HTTP only if TLS verification is off.
      clusters: [{ ...named, cluster: { server, 'insecure-skip-tls-verify': true } }],
      contexts: [{ ...named, context: { cluster: 'x', user: 'x' } }],
      users: [{ ...named, user: {} }],
      'current-context': 'x',
    }),
  );
  return path;
}

it('serves and ends, with its final account, although names, servers, the disk and the configuration hang', async () => {
  mkdirSync(join(folder, 'hangs'));
  await using hangs = await Hangs.start(join(folder, 'hangs'));
  using netns = new TestNetns();
  netns.ip('link set lo up');
  const configOf = (rest: object) => only({ packetloss: true }, { events: { fold: '0s' }, ...rest });
  writeFileSync(config, configOf({}));
  await using agent = await AgentProcess.serve(
    ['--config', config, '--kubernetes', 'on', '--state', join(folder, 'state')],
    hangs.wrapper,
    { KUBECONFIG: kubeconfig(hangs.url), NODE_NAME: 'n' },
  );
  expect(readdirSync(`/proc/${agent.pid}/task`).length).toBeGreaterThanOrEqual(32);
  writeFileSync(
    config,
    configOf({
      log: { loki: { url: hangs.url, bearerTokenFile: join(hangs.disk, 'token') } },
      sinks: {
        stdout: {},
        file: { path: join(hangs.disk, 'events.jsonl') },
        loki: { url: hangs.url, batch: { age: '0s' }, spool: { directory: join(hangs.disk, 'spool') } },
        otlp: { url: 'http://nobody.example:4318', batch: { age: '0s' } },
      },
    }),
  );
  await eventually(() => expect(agent.stderr).toContain('configuration 2 applied'));
  await eventually(() => {
    for (const text of ['log lines do not reach loki', 'cannot write the spool'])
      expect(agent.stderr).toMatch(new RegExp(`${text}: .*${hangs.disk}\\S* does not respond`));
  });
  await eventually(async () => {
    netns.python("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 7001))");
    const { sinks } = await agent.json<SinksReport>('/api/v1/sinks');
    const states = Object.fromEntries(sinks.map(({ name, state }) => [name, state]));
    expect(states).toEqual({ stdout: 'running', file: 'failed', loki: 'failed', otlp: 'failed' });
  });
  // The agent must not block on the pipe, because it could then not apply a later valid configuration.
  rmSync(config);
  sh(`mkfifo ${config}`);
  await eventually(() => expect(agent.stderr).toContain(`--config: ${config} is a pipe: give a regular file`));
  const page = await agent.get('/metrics', { 'accept-encoding': 'gzip' });
  expect([page.headers.get('content-encoding'), (await page.text()).includes('netsonde_build_info')]).toEqual([
    'gzip',
    true,
  ]);
  expect((await agent.get('/healthz')).status).toBe(200);

  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  const accounts = ['stdout', 'file', 'loki', 'otlp'].map((sink) => {
    const [, account = ''] = new RegExp(`info events to ${sink}: (.*)`).exec(agent.stderr) ?? [];
    return [...account.matchAll(/(\d+) (?:delivered|dropped|kept)/g)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
  });
  expect(accounts[0]).toBeGreaterThan(0);
  // The totals must be the same for all sinks.
  expect(new Set(accounts).size).toBe(1);
  const delivered = agent.stdout.split('\n').filter((line) => line.startsWith('{')).length;
  expect(agent.stderr).toContain(`events to stdout: ${delivered} delivered`);
});

it('ends during its start', async () => {
  mkdirSync(join(folder, 'hangs'));
  await using hangs = await Hangs.start(join(folder, 'hangs'));
  await using agent = AgentProcess.run(
    ['serve', '--listen', '127.0.0.1:0', '--kubernetes', 'on', '--state', join(hangs.disk, 'state')],
    hangs.wrapper,
    { KUBECONFIG: kubeconfig(hangs.url) },
  );
  await eventually(() => expect(agent.stderr).toContain('from the Kubernetes API at'));
  expect(agent.stderr).toMatch(new RegExp(`${hangs.disk}/state/timed.json is ignored because .* does not respond`));
  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  expect(agent.stderr).toContain('SIGTERM: the agent is shutting down');
});

it('does not start on a pipe, and reports that', async () => {
  sh(`mkfifo ${config}`);
  await using agent = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', '--config', config]);
  expect(await agent.exited).toEqual({ code: 1, signal: null });
  expect(agent.stderr).toContain(`--config: ${config} is a pipe: give a regular file`);
});
