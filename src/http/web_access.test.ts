import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import express from 'express';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { eventually } from '../../test/support/oracle.ts';
import { CertificateAuthority } from '../../test/support/web_certificates.ts';
import { accessTo } from './access.ts';
import { Connections } from './connections.ts';
import { Listeners } from './listeners.ts';
import { Refusals } from './refusals.ts';
import { WebAccess } from './web_access.ts';
import { WebFile, webFileFault } from './web_file.ts';

const TOKEN = 'sixteen-or-more-characters';
let secretHash: string;
let directory: string;
let ca: CertificateAuthority;
let file: string;
let web: WebFile;
let listeners: Listeners;
let refusals: Refusals;
let connections: Connections;
let log: string[];

beforeAll(async () => {
  secretHash = await hash('secret', 4);
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'web-access-'));
  ca = new CertificateAuthority(directory);
  ca.sign('server');
  file = join(directory, 'web.yml');
  refusals = new Refusals();
  connections = new Connections(refusals);
  listeners = new Listeners(connections, refusals);
  log = [];
});

afterEach(async () => {
  web?.[Symbol.dispose]();
  listeners[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

const write = (document: Record<string, unknown>) => writeFileSync(file, JSON.stringify(document));
const tls = (more: Record<string, unknown> = {}) => ({ cert_file: 'server.crt', key_file: 'server.key', ...more });
const verified = () => tls({ client_ca_file: 'ca.crt', client_auth_type: 'RequireAndVerifyClientCert' });

async function serve(document: Record<string, unknown>, tokenFile?: string, socketOnly = true): Promise<void> {
  write(document);
  web = await WebFile.open({
    files: new Files(),
    path: file,
    lookMs: 10,
    log: (level, message) => log.push(`${level} ${message}`),
    changed: (settings) => {
      front.use(settings.tls);
      known.use(settings);
      connections.retire();
    },
  });
  const known = new WebAccess(web.settings, refusals);
  const warn = () => undefined;
  const access = accessTo('tcp', { files: new Files(), tokenFile, socketOnly, refusals, warn, web: known });
  const app = express().use(access.all).use('/api', access.api);
  app.use((_request, response) => void response.send('here'));
  const front = await listeners.onAddress({ host: '127.0.0.1', port: 0 }, app, web.settings.tls);
}

interface Asked {
  readonly path?: string;
  readonly auth?: string;
  readonly client?: { readonly cert: string; readonly key: string };
  readonly headers?: Record<string, string>;
}

/** Returns the status and body of the response, or `closed` if there is no response. */
function ask({ path = '/metrics', auth, client, headers = {} }: Asked = {}): Promise<string> {
  const [host, port] = listeners.address.split(':');
  const own = client && { cert: readFileSync(client.cert), key: readFileSync(client.key) };
  const options: RequestOptions = { host, port, path, headers, agent: false, ca: readFileSync(ca.certificate), ...own };
  return new Promise((resolve) => {
    const call = request(auth === undefined ? options : { ...options, auth }, async (response) => {
      const body = Buffer.concat(await response.toArray()).toString();
      const [header] = Object.entries(response.headers).filter(([name]) => name === 'x-frame-options');
      resolve([response.statusCode, body, ...(header ?? [])].join(' '));
    });
    call.once('error', ({ message }) => resolve(`closed: ${message}`)).end();
  });
}

const taken = (words: string) => eventually(() => expect(log.at(-1)).toContain(words));

it('requires a password by TLS on every path, and lets a user read the API', async () => {
  const headers = { 'X-Frame-Options': 'deny' };
  await serve({ tls_server_config: tls(), basic_auth_users: { alice: secretHash }, http_server_config: { headers } });
  for (const path of ['/', '/metrics', '/healthz', '/api/v1/agent']) {
    expect(await ask({ path, auth: 'alice:secret' })).toBe('200 here x-frame-options deny');
    expect(await ask({ path })).toMatch(/^401 .*a user name and a password are required/);
  }
  for (const auth of ['alice:wrong', 'bob:secret', ':', 'alice:'])
    expect(await ask({ auth })).toMatch(/^401 .*is wrong/);
  expect(refusals.counts.get('password')).toBe(8);
  // A client without TLS gets no response, and the agent continues to serve other clients.
  const [host, port] = listeners.address.split(':');
  const plain = connect(Number(port), host).on('error', () => undefined);
  plain.end('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(String(Buffer.concat(await plain.toArray()))).not.toContain('HTTP/1.1 200');
  expect(refusals.counts.get('tls')).toBe(1);
  await eventually(() => expect(connections.count).toBe(0));
});

it.each([
  ['as from elsewhere', true],
  ['by loopback', false],
])('a token is accepted instead of a password, %s', async (_, socketOnly) => {
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, TOKEN);
  await serve({ tls_server_config: tls(), basic_auth_users: { alice: secretHash } }, tokenFile, socketOnly);
  const headers = { Authorization: `Bearer ${TOKEN}` };
  expect(await ask({ path: '/api/v1/agent', headers })).toBe('200 here');
  for (const path of ['/metrics', '/apiary', '/']) expect(await ask({ path, headers })).toMatch(/^401 /);
  expect(await ask({ path: '/api/v1/agent', headers: { Authorization: 'Bearer another' } })).toMatch(/^401 /);
});

it('a certificate of the authority gives access, and no other: each client gets the reason', async () => {
  const client = ca.sign('prometheus', { names: 'DNS:prometheus.example' });
  await serve({ tls_server_config: { ...verified(), client_allowed_sans: ['prometheus.example'] } });
  expect(await ask({ client })).toBe('200 here');
  expect(await ask({ client, path: '/api/v1/agent' })).toBe('200 here');
  expect(await ask()).toMatch(/^403 .*a client certificate is required/);
  const expired = ca.sign('expired', { names: 'DNS:prometheus.example', until: new Date(Date.now() - 1_000) });
  expect(await ask({ client: expired })).toMatch(/^403 .*has expired/);
  expect(await ask({ client: ca.sign('other') })).toMatch(/^403 .*client_allowed_sans/);
  const stranger = new CertificateAuthority(directory, 'stranger').sign('guest', { names: 'DNS:prometheus.example' });
  expect(await ask({ client: stranger })).toMatch(/^403 .*was rejected: /);
  expect(refusals.counts.get('certificate')).toBe(4);
  await eventually(() => expect(connections.count).toBe(0));
});

it('a change is applied, with TLS switched on and off, and an invalid change keeps the previous settings', async () => {
  await serve({ tls_server_config: tls(), basic_auth_users: { alice: secretHash } });
  const works = () => ask({ auth: 'alice:secret' });
  expect(await works()).toBe('200 here');
  const { appliedMs, certificateUntilMs } = web.status;

  const old = ca.sign('server-old', { until: new Date(Date.now() - 1_000) });
  write({ tls_server_config: { cert_file: old.cert, key_file: old.key } });
  await taken('this one expired on');
  expect(web.status).toEqual({ successful: false, appliedMs, certificateUntilMs });
  expect(await works()).toBe('200 here');

  writeFileSync(file, '{ tls_server_config: { cert_file');
  await taken('invalid YAML');
  rmSync(file);
  await taken('ENOENT');
  writeFileSync(file, '');
  await taken('empty');
  expect(log.filter((line) => line.startsWith('warn'))).toHaveLength(4);
  expect(await webFileFault(new Files(), file)).toContain(`--web.config.file ${file}:\nthe document: empty`);
  expect(await works()).toBe('200 here');

  write({ tls_server_config: verified() });
  await taken('is applied');
  expect(web.status.successful).toBe(true);
  expect(await works()).toMatch(/^403 /);
  const client = ca.sign('client');
  expect(await ask({ client })).toBe('200 here');

  // This changes only the certificate file, not the web configuration.
  const until = new Date(1_000 * Math.ceil(Date.now() / 1_000) + 7_200_000);
  ca.sign('server', { until });
  await eventually(() => expect(web.status.certificateUntilMs).toBe(until.getTime()));
  expect(await ask({ client })).toBe('200 here');

  write({});
  await eventually(() => expect(web.status.certificateUntilMs).toBeUndefined());
  expect(await (await fetch(`http://${listeners.address}/metrics`)).text()).toBe('here');
});

it.each([
  ['{', 'invalid YAML'],
  [
    '{ basic_auth_users: { alice: secret } }',
    'basic_auth_users.alice: (hidden) is not allowed; allowed: a bcrypt hash',
  ],
])('a file that is faulty at the start, %s, is refused', async (text, words) => {
  writeFileSync(file, text);
  const opened = WebFile.open({ files: new Files(), path: file, log: () => undefined, changed: () => undefined });
  await expect(opened).rejects.toThrow(words);
});
