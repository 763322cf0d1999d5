import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { sampleValue } from '../support/exposition.ts';
import { ManyNetns } from '../support/many_netns.ts';
import { eventually } from '../support/oracle.ts';

const NAMESPACES = 60;
/** Maximum time until an agent has started on a busy machine. */
const START_MS = 110_000;

vi.setConfig({ testTimeout: START_MS });

const directory = mkdtempSync(join(tmpdir(), 'flood-'));
const socketPath = join(directory, 'api.sock');
const clients: Socket[] = [];
let many: ManyNetns;
let agent: AgentProcess;

beforeAll(async () => {
  many = await ManyNetns.create(NAMESPACES);
  agent = await AgentProcess.serve(['--api-socket', socketPath]);
  await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200), START_MS);
  // The first scrape allocates memory, so it must happen before the measurement.
  await agent.page();
}, 2 * START_MS);

afterAll(async () => {
  for (const client of clients) client.destroy();
  await agent?.[Symbol.asyncDispose]();
  await many?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

/** Opens a connection and sends a text, but never reads the response. */
function send(text: string, path?: string): void {
  const { hostname, port } = new URL(agent.url ?? '');
  const socket = path === undefined ? connect(Number(port), hostname) : connect(path);
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(text);
  clients.push(socket);
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const residentBytes = () =>
  1_024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]);
const refused = async (cause: string) => sampleValue(await agent.page(), 'netsonde_http_refused_total', { cause });

it('requests whose answers are never read have a bounded cost, and others are served meanwhile', async () => {
  const before = residentBytes();
  const routes = [
    '/metrics',
    '/',
    '/healthz',
    '/api/v1/entities',
    '/api/v1/probes',
    '/api/v1/trouble',
    '/api/v1/events?follow=false',
    '/nothing',
  ];
  for (const path of routes) {
    send(get(path).repeat(1_000));
    send(get(path).repeat(1_000), socketPath);
    expect((await agent.get('/healthz')).status, path).toBe(200);
  }
  await eventually(async () => expect(await refused('pipelined')).toBe(2 * routes.length));
  for (let index = 0; index < 1_000; index++) send(get('/metrics'));
  expect((await agent.get('/healthz')).status).toBe(200);
  await eventually(async () => expect(await refused('connections')).toBeGreaterThan(900));
  const page = await agent.page();
  expect(page.samples.length).toBeGreaterThan(NAMESPACES * 20);
  expect(sampleValue(page, 'netsonde_http_connections', {})).toBeLessThanOrEqual(64);
  expect(sampleValue(page, 'netsonde_http_unread_bytes', {})).toBeLessThanOrEqual(32 * 1024 * 1024);
  expect(residentBytes() - before).toBeLessThan(150 * 1024 * 1024);
});

it('SIGTERM ends the agent during such a flood', async () => {
  for (let index = 0; index < 64; index++) send(get('/metrics').repeat(10));
  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual({ code: 0, signal: null });
});
