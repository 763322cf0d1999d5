import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTENT_TYPES, type Format } from '#collectors/exposition.ts';
import { PROBES } from '#probes/index.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { makeTraffic } from '../support/counters.ts';
import { parseExposition } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer } from '../support/prometheus.ts';
import { promtool } from '../support/promtool.ts';

const CLIENT = fileURLToPath(new URL('../support/client_parsers.py', import.meta.url));
/** Debian's Python, because Debian packages the Prometheus client for it. */
const PYTHON = '/usr/bin/python3';

const DETAILS = ['core', 'full'] as const;
const FORMATS: readonly Format[] = ['text', 'openmetrics'];
const CASES = DETAILS.flatMap((detail) => FORMATS.map((format) => [detail, format] as const));

/** Process metrics, whose names come from prom-client. All other names start with `netsonde_`. */
const FOREIGN = /^(nodejs|process)_/;

/** Returns a configuration that enables every probe. */
const configOf = (detail: (typeof DETAILS)[number]) =>
  JSON.stringify({
    detail,
    bpfStats: true,
    probes: {
      ...Object.fromEntries(PROBES.map(({ name }) => [name, true])),
      ...(detail === 'full' ? { tcpext: { fields: 'all' }, conntrack: { states: true } } : {}),
    },
  });

const resources = new AsyncDisposableStack();
const agents = new Map<string, AgentProcess>();

async function pageOf(detail: string, format: Format): Promise<string> {
  const accept = format === 'text' ? 'text/plain' : 'application/openmetrics-text;version=1.0.0';
  const response = await agents.get(detail)?.get('/metrics', { accept });
  expect(response?.headers.get('content-type')).toBe(CONTENT_TYPES[format]);
  return (await response?.text()) ?? '';
}

/**
 * Serves the page in one format and ignores the Accept header, because Prometheus would otherwise request OpenMetrics.
 */
async function only(detail: string, format: Format): Promise<string> {
  const server = createServer((_, response) => {
    response.setHeader('content-type', CONTENT_TYPES[format]);
    // A scrape may be in progress when the agent exits.
    pageOf(detail, format).then(
      (page) => response.end(page),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  resources.defer(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), 'netsonde-parsers-'));
  resources.defer(() => rmSync(directory, { recursive: true }));
  const pair = resources.use(await HostPair.create());
  // This device name must be escaped in a label.
  pair.b.netns.ip('link add d"\\é type bridge');
  for (const detail of DETAILS) {
    const config = join(directory, `${detail}.yaml`);
    writeFileSync(config, configOf(detail));
    agents.set(detail, resources.use(await AgentProcess.serve(['--config', config])));
  }
  await makeTraffic(pair);
});

afterAll(() => resources.disposeAsync());

describe.each(CASES)('the page of every probe, detail %s, as %s', (detail, format) => {
  it('has distinct series, and no family twice', async () => {
    const text = await pageOf(detail, format);
    const { samples } = parseExposition(text);
    const keys = samples.map(({ name, labels }) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`);
    expect(new Set(keys).size).toBe(keys.length);
    const heads = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(heads).size).toBe(heads.length);
    expect(samples.some(({ labels }) => labels['device'] === 'd"\\é')).toBe(true);
    expect(text.endsWith('\n# EOF\n')).toBe(format === 'openmetrics');
  });

  it('is parsed by Debian’s Python client to the last sample', async () => {
    const text = await pageOf(detail, format);
    const printed = execFileSync(PYTHON, [CLIENT, format], { input: text, encoding: 'utf8', maxBuffer: 64 << 20 });
    const families = JSON.parse(printed) as [name: string, type: string, samples: number][];
    const total = families.reduce((sum, [, , samples]) => sum + samples, 0);
    expect(total).toBe(parseExposition(text).samples.length);
    expect(families.filter(([, type]) => type === 'unknown' || type === 'untyped')).toEqual([]);
  });
});

it.each(DETAILS)('promtool finds no error in our families, detail %s', async (detail) => {
  const said = promtool('check', 'metrics', await pageOf(detail, 'text'));
  expect(said.split('\n').filter((line) => line !== '' && !FOREIGN.test(line))).toEqual([]);
});

it('a real Prometheus takes every series of every page', async () => {
  const targets = await Promise.all(
    CASES.map(async ([detail, format]) => ({
      address: await only(detail, format),
      labels: { detail, format },
    })),
  );
  await using prometheus = await PrometheusServer.start({ targets, intervalSeconds: 5 });
  for (const [detail, format] of CASES) {
    const of = `detail="${detail}",format="${format}"`;
    const expected = new Set(parseExposition(await pageOf(detail, format)).samples.map(({ name }) => name));
    // This metric has series only while a request is active.
    expected.delete('nodejs_active_requests');
    await eventually(async () => {
      expect((await prometheus.query(`up{${of}}`)).map(({ value }) => value)).toEqual([1]);
      const names = await prometheus.query(`count by (__name__) ({__name__=~"(netsonde|nodejs|process)_.*",${of}})`);
      const taken = new Set(names.map(({ labels }) => labels['__name__']));
      expect([...expected].filter((name) => !taken.has(name))).toEqual([]);
    });
  }
});
