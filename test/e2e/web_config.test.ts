import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { AgentProcess, BIN } from '../support/agent_process.ts';
import { run } from '../support/command.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer } from '../support/prometheus.ts';
import { CertificateAuthority } from '../support/web_certificates.ts';

/** Maximum duration of a step on a busy machine. */
const WAIT_MS = 110_000;

vi.setConfig({ testTimeout: 3 * WAIT_MS });

const directory = mkdtempSync(join(tmpdir(), 'web-config-'));
const path = (name: string) => join(directory, name);
const file = path('web.yml');
const socketPath = path('api.sock');
let ca: CertificateAuthority;
let agent: AgentProcess;
let prometheus: PrometheusServer;
let secretHash: string;

const write = (document: unknown) => writeFileSync(file, JSON.stringify(document));
const tls = { cert_file: 'server.crt', key_file: 'server.key' };

/** Returns a scrape job that uses TLS. */
function job(name: string, more: object, pair?: string): object {
  const client = pair === undefined ? {} : { cert_file: path(`${pair}.crt`), key_file: path(`${pair}.key`) };
  return {
    job_name: name,
    scheme: 'https',
    honor_labels: true,
    static_configs: [{ targets: [new URL(agent.url ?? '').host] }],
    tls_config: { ca_file: ca.certificate, ...client },
    ...more,
  };
}

const user = (password: string) => ({ basic_auth: { username: 'prometheus', password } });

beforeAll(async () => {
  ca = new CertificateAuthority(directory);
  ca.sign('server');
  ca.sign('client');
  ca.sign('expired', { until: new Date(Date.now() - 1_000) });
  secretHash = await hash('secret', 10);
  write({ tls_server_config: tls, basic_auth_users: { prometheus: secretHash } });
  // With a configured interval, new counters are shown sooner.
  writeFileSync(path('netsonde.yaml'), only({ udp: true }, { limits: { scrapeInterval: '1s' } }));
  const served = ['--api-socket', socketPath, '--health-listen', '127.0.0.1:0'];
  agent = await AgentProcess.serve(['--config', path('netsonde.yaml'), '--web.config.file', file, ...served]);
  prometheus = await PrometheusServer.start({
    targets: [],
    jobs: [
      job('password', user('secret')),
      job('wrong password', user('guess')),
      job('certificate', {}, 'client'),
      job('expired certificate', {}, 'expired'),
      { job_name: 'no TLS', static_configs: [{ targets: [new URL(agent.url ?? '').host] }] },
    ],
  });
}, 3 * WAIT_MS);

afterAll(async () => {
  await prometheus?.[Symbol.asyncDispose]();
  await agent?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

const outcomes = (expected: Record<string, unknown>) =>
  eventually(async () => expect(await prometheus.outcomes()).toMatchObject(expected), WAIT_MS);
const sampleOf = async (query: string) => (await prometheus.query(query))[0]?.value;

it('Prometheus scrapes by TLS with a password; a wrong password, and none, are refused with a reason', async () => {
  await outcomes({
    password: 'up',
    'wrong password': expect.stringContaining('401'),
    certificate: expect.stringContaining('401'),
    'no TLS': expect.stringMatching(/EOF|reset|malformed/),
  });
  expect(await sampleOf('count({job="password", __name__=~"netsonde_.*"})')).toBeGreaterThan(100);
  await eventually(async () =>
    expect(await sampleOf('netsonde_http_refused_total{cause="password"}')).toBeGreaterThan(0),
  );
  // Access to the socket depends only on the permissions of its file.
  expect(await agent.overUnix(socketPath, '/api/v1/probes')).toBe(200);
  expect(run(BIN, 'events', '--api-socket', socketPath, '-o', 'json')).not.toContain('error');
});

it('a change to client certificates is applied; an invalid one is not, and the reason is reported', async () => {
  write({
    tls_server_config: { ...tls, client_ca_file: 'ca.crt', client_auth_type: 'RequireAndVerifyClientCert' },
  });
  await outcomes({
    password: expect.stringContaining('403'),
    certificate: 'up',
    'expired certificate': expect.stringContaining('403'),
  });
  const until = await sampleOf('netsonde_web_certificate_expiry_timestamp_seconds{job="certificate"}');
  expect(until).toBeGreaterThan(Date.now() / 1_000);

  ca.sign('server', { until: new Date(Date.now() - 1_000) });
  await eventually(() => expect(agent.stderr).toContain('a valid certificate; this one expired on'), WAIT_MS);
  const { status, stdout } = spawnSync(BIN, ['check', '--web.config.file', file], { encoding: 'utf8' });
  expect([status, stdout]).toEqual([1, expect.stringContaining('this one expired on')]);
  writeFileSync(file, '{ tls_server_config: {');
  await eventually(() => expect(agent.stderr).toContain('invalid YAML'), WAIT_MS);
  await eventually(async () => {
    expect(await sampleOf('netsonde_web_config_last_reload_successful{job="certificate"}')).toBe(0);
  }, WAIT_MS);
  await outcomes({ certificate: 'up' });
  expect(await sampleOf('netsonde_web_certificate_expiry_timestamp_seconds{job="certificate"}')).toBe(until);
});
