import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { sh } from '../../test/support/command.ts';
import { accessTo } from './access.ts';
import { Connections } from './connections.ts';
import { Listeners } from './listeners.ts';
import { Refusals } from './refusals.ts';

const TOKEN = 'sixteen-or-more-characters';
const OTHER = { Host: '127.0.0.1.attacker.example' };
const FORWARDED = { Host: 'localhost', 'X-Forwarded-For': '10.0.0.9' };

let directory: string;
let listeners: Listeners;
let refusals: Refusals;
let warnings: string[];
let tokenFile: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'access-'));
  tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, TOKEN);
  refusals = new Refusals();
  listeners = new Listeners(new Connections(refusals), refusals);
  warnings = [];
});
afterEach(() => {
  listeners[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function serve(options: { token?: boolean; socketOnly?: boolean } = {}): Promise<void> {
  for (const transport of ['tcp', 'unix'] as const) {
    const access = accessTo(transport, {
      files: new Files(),
      tokenFile: options.token === true ? tokenFile : undefined,
      socketOnly: options.socketOnly === true,
      refusals,
      web: undefined,
      warn: (message) => warnings.push(message),
    });
    const app = express().use(access.all).use('/api', access.api);
    app.use((_request, response) => void response.send('here'));
    if (transport === 'tcp') await listeners.onAddress({ host: '127.0.0.1', port: 0 }, app);
    else await listeners.onUnix(join(directory, 'api.sock'), app);
  }
}

function ask(by: 'tcp' | 'unix', path: string, headers: Record<string, string>): Promise<[number, string]> {
  const [host, port] = listeners.address.split(':');
  const where: RequestOptions = by === 'unix' ? { socketPath: join(directory, 'api.sock') } : { host, port };
  return new Promise((resolve, reject) => {
    const call = request({ ...where, path, headers, agent: false }, async (response) => {
      resolve([response.statusCode ?? 0, Buffer.concat(await response.toArray()).toString()]);
    });
    call.once('error', reject).end();
  });
}

const statusOf = async (...call: Parameters<typeof ask>) => (await ask(...call))[0];

it('the API answers this machine under its own names, on the port and on the socket', async () => {
  await serve();
  for (const by of ['tcp', 'unix'] as const) {
    for (const Host of ['localhost', 'LOCALHOST.', '127.0.0.1:9102', '[::1]']) {
      expect(await statusOf(by, '/api/v1/agent', { Host })).toBe(200);
    }
    for (const Host of ['127.0.0.1.attacker.example', '127.0.0.1.nip.io', '10.0.0.1']) {
      expect(await ask(by, '/api/v1/agent', { Host })).toEqual([403, expect.stringContaining(`not ${Host}`)]);
    }
    expect(await ask(by, '/api/v1/agent', { Host: '[127.evil.com]' })).toEqual([400, expect.stringContaining('Host')]);
    // Scrapers may address the node by any host name.
    expect(await statusOf(by, '/metrics', OTHER)).toBe(200);
  }
  expect(await statusOf('tcp', '/api/v1/agent', { Host: 'netsonde' })).toBe(403);
  expect(await statusOf('unix', '/api/v1/agent', { Host: 'netsonde' })).toBe(200);
  expect(refusals.counts.get('host')).toBe(9);
});

it('no route answers a page of another site', async () => {
  await serve();
  for (const path of ['/', '/metrics', '/healthz', '/api/v1/agent', '/nothing']) {
    for (const by of ['tcp', 'unix'] as const) {
      expect(await statusOf(by, path, { Host: 'localhost', Origin: 'http://evil.example' })).toBe(403);
      expect(await statusOf(by, path, { Host: 'localhost', 'Sec-Fetch-Site': 'cross-site' })).toBe(403);
      expect(await statusOf(by, path, { Host: 'localhost', 'Sec-Fetch-Site': 'same-origin' })).toBe(200);
    }
  }
  expect(refusals.counts.get('site')).toBe(20);
});

it('a proxy on this machine asks for others', async () => {
  await serve();
  for (const by of ['tcp', 'unix'] as const) {
    const [status, body] = await ask(by, '/api/v1/agent', FORWARDED);
    expect([status, JSON.parse(body).error]).toEqual([403, expect.stringContaining('x-forwarded-for')]);
    expect(await statusOf(by, '/metrics', FORWARDED)).toBe(200);
  }
  expect(refusals.counts.get('address')).toBe(2);
});

it('a proxy may use the token', async () => {
  await serve({ token: true });
  for (const by of ['tcp', 'unix'] as const) {
    expect(await statusOf(by, '/api/v1/agent', FORWARDED)).toBe(401);
    const bearer = { Authorization: `Bearer ${TOKEN}` };
    expect(await statusOf(by, '/api/v1/agent', { ...FORWARDED, ...bearer })).toBe(200);
  }
});

it('loopback may count like any other address', async () => {
  await serve({ socketOnly: true });
  const [status, body] = await ask('tcp', '/api/v1/agent', { Host: 'localhost' });
  expect([status, JSON.parse(body).error]).toEqual([403, expect.stringContaining('--api-socket-only')]);
  expect(await statusOf('unix', '/api/v1/agent', { Host: 'localhost' })).toBe(200);
  expect(await statusOf('tcp', '/metrics', { Host: 'localhost' })).toBe(200);
});

it('a token that cannot be read is reported once, in the agent’s log', async () => {
  await serve({ token: true, socketOnly: true });
  rmSync(tokenFile);
  for (let times = 0; times < 3; times++) {
    const [status, body] = await ask('tcp', '/api/v1/agent', { Host: 'localhost', Authorization: `Bearer ${TOKEN}` });
    expect([status, body]).toEqual([503, expect.not.stringContaining(directory)]);
  }
  expect(warnings).toEqual([expect.stringContaining(tokenFile)]);
  expect(refusals.counts.get('token')).toBe(3);
});

it('no request waits for a token on a pipe', async () => {
  await serve({ token: true, socketOnly: true });
  rmSync(tokenFile);
  sh(`mkfifo ${tokenFile}`);
  const headers = { Host: 'localhost', Authorization: `Bearer ${TOKEN}` };
  for (let times = 0; times < 8; times++) expect(await statusOf('tcp', '/api/v1/agent', headers)).toBe(503);
  expect(warnings).toEqual([`--api-token-file: ${tokenFile} is a pipe: give a regular file`]);
  rmSync(tokenFile);
  writeFileSync(tokenFile, TOKEN);
  expect(await statusOf('tcp', '/api/v1/agent', headers)).toBe(200);
});
