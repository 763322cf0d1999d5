import { existsSync, statSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { AgentProcess, BIN } from '../support/agent_process.ts';
import { run } from '../support/command.ts';
import { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const TOKEN = 'a-token-of-the-test-0123456789';
const PORT = 9_102;
/** Maximum time until an agent has started on a busy machine. */
const START_MS = 110_000;

vi.setConfig({ testTimeout: 3 * START_MS });

let pair: HostPair;
let scratch: Awaited<ReturnType<typeof mkdtempDisposable>>;

beforeAll(async () => {
  pair = await HostPair.create();
  scratch = await mkdtempDisposable(join(tmpdir(), 'access-'));
});

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
  await scratch?.remove();
});

/** Returns options that disable all probes, because access does not depend on the data. */
function quiet(): readonly string[] {
  const file = join(scratch.path, 'quiet.yaml');
  writeFileSync(file, only({}));
  return ['--config', file];
}

/** Starts an agent in host b's namespace that listens on all addresses. */
async function serveInside(args: readonly string[]): Promise<AgentProcess> {
  const inside = ['ip', 'netns', 'exec', pair.b.netns.name];
  const agent = AgentProcess.run(['serve', '--listen', `:${PORT}`, ...quiet(), ...args], inside);
  try {
    await eventually(() => expect(agent.url, agent.stderr).toBeDefined(), START_MS);
    return agent;
  } catch (error) {
    await agent[Symbol.asyncDispose]();
    throw error;
  }
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

function ask(from: 'a' | 'b', url: string, ...options: readonly string[]): Reply {
  const inside = ['ip', 'netns', 'exec', pair[from].netns.name] as const;
  const text = run(...inside, 'curl', '-g', '-s', '-m', '20', '-w', '\\n%{http_code}', ...options, url);
  const at = text.trimEnd().lastIndexOf('\n');
  return { status: Number(text.slice(at)), body: text.slice(0, at) };
}

const bearer = (token: string) => ['-H', `Authorization: Bearer ${token}`] as const;

const API = ['/api/v1/probes', '/api/v1/entities', '/api/v1/config', '/api/v1/events?follow=false', '/API/v1/probes'];
const OPEN = ['/metrics', '/healthz', '/readyz', '/'];

it('without a token the API answers only this machine, and all other paths answer everybody', async () => {
  await using _agent = await serveInside([]);
  const [v4, v6] = [`http://${pair.addressB.ipv4}:${PORT}`, `http://[${pair.addressB.ipv6}]:${PORT}`];
  for (const base of [v4, v6]) {
    for (const path of OPEN) expect(ask('a', base + path).status, path).toBe(200);
    for (const path of API) {
      const { status, body } = ask('a', base + path);
      expect(status, path).toBe(403);
      expect(JSON.parse(body).error).toContain('--api-token-file');
    }
    expect(ask('a', `${base}/api/v1/probes`, ...bearer(TOKEN)).status).toBe(403);
    // A request from the same machine that does not use a loopback address is treated like a request from another
    // machine.
    expect(ask('b', `${base}/api/v1/probes`).status).toBe(403);
  }
  for (const base of [`http://127.0.0.1:${PORT}`, `http://[::1]:${PORT}`]) {
    for (const path of API) expect(ask('b', base + path).status, path).toBe(200);
    expect(ask('b', `${base}/api/v1/probes`, '-H', 'Host: localhost').status).toBe(200);
    // A browser sends this request for a page whose host name resolves to the agent's address.
    const { status, body } = ask('b', `${base}/api/v1/probes`, '-H', 'Host: page.example:9102');
    expect([status, JSON.parse(body).error]).toEqual([403, expect.stringContaining('not page.example')]);
    expect(ask('b', `${base}/metrics`, '-H', 'Host: page.example').status).toBe(200);
  }
});

it('with a token it answers whoever has it, and a changed token takes effect at once', async () => {
  const file = join(scratch.path, 'token');
  writeFileSync(file, `${TOKEN}\n`);
  await using _agent = await serveInside(['--api-token-file', file]);
  const url = `http://${pair.addressB.ipv4}:${PORT}/api/v1/probes`;
  expect(ask('a', url)).toEqual({ status: 401, body: '{"error":"a bearer token is required"}' });
  expect(ask('a', url, '-D', '-').body).toContain('WWW-Authenticate: Bearer realm="netsonde"');
  for (const wrong of [`${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase(), 'x']) {
    expect(ask('a', url, ...bearer(wrong))).toEqual({
      status: 401,
      body: '{"error":"the bearer token is wrong"}',
    });
  }
  expect(ask('a', url, '-u', `x:${TOKEN}`).status).toBe(401);
  expect(ask('a', url, ...bearer(TOKEN)).status).toBe(200);
  const events = ['netns', 'exec', pair.a.netns.name, BIN, 'events', '--url', new URL(url).origin] as const;
  expect(run('ip', ...events, '--token-file', file)).not.toContain('the agent responded with');
  expect(() => run('ip', ...events)).toThrow('the agent responded with 401: a bearer token is required');
  expect(ask('b', `http://127.0.0.1:${PORT}/api/v1/probes`).status).toBe(200);
  writeFileSync(file, 'another-token-0123456789');
  expect(ask('a', url, ...bearer(TOKEN)).status).toBe(401);
  expect(ask('a', url, ...bearer('another-token-0123456789')).status).toBe(200);
  writeFileSync(file, '');
  expect(ask('a', url, ...bearer('another-token-0123456789')).status).toBe(503);
  expect(ask('a', `http://${pair.addressB.ipv4}:${PORT}/metrics`).status).toBe(200);
});

it('a Unix socket answers whoever may open it; a stale socket is replaced, and no other file', async () => {
  const path = join(scratch.path, 'api.sock');
  const ask = (agent: AgentProcess) => agent.overUnix(path, '/api/v1/probes');
  {
    await using agent = await AgentProcess.serve([...quiet(), '--api-socket', path]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await ask(agent)).toBe(200);
    await using second = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', ...quiet(), '--api-socket', path]);
    expect((await second.exited).code).toBe(1);
    expect(second.stderr).toContain(`--api-socket ${path}: another process listens there`);
  }
  // The agent was killed, so it could not remove its socket.
  expect(existsSync(path)).toBe(true);
  {
    await using agent = await AgentProcess.serve([...quiet(), '--api-socket', path]);
    expect(await ask(agent)).toBe(200);
    agent.signal('SIGTERM');
    expect((await agent.exited).code).toBe(0);
    expect(existsSync(path)).toBe(false);
  }
  writeFileSync(path, 'precious');
  await using agent = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', ...quiet(), '--api-socket', path]);
  expect((await agent.exited).code).toBe(1);
  expect(agent.stderr).toContain(`--api-socket ${path}: the path exists and is not a socket`);
});

it.each([
  ['is short', 'short'],
  ['has spaces', 'a token that has spaces in it'],
  ['is empty', ''],
])('a token that %s is refused at the start', async (_, text) => {
  const file = join(scratch.path, 'bad');
  writeFileSync(file, text);
  await using agent = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', ...quiet(), '--api-token-file', file]);
  expect((await agent.exited).code).toBe(1);
  expect(agent.stderr).toBe(
    `netsonde: --api-token-file ${file}: give 16 to 4096 printable characters without spaces\n`,
  );
});

it('a port in use leaves no socket behind', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const path = join(scratch.path, 'none.sock');
  await using agent = AgentProcess.run(['serve', '--listen', `127.0.0.1:${port}`, ...quiet(), '--api-socket', path]);
  expect((await agent.exited).code).toBe(1);
  expect(existsSync(path)).toBe(false);
  server.close();
});
