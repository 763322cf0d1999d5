import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { parseExposition } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { HttpProcess, runHttp } from '../support/http_traffic.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer } from '../support/prometheus.ts';
import { promtool } from '../support/promtool.ts';

const CLIENT = fileURLToPath(new URL('../support/client_parsers.py', import.meta.url));
/** Debian's Python, because Debian packages the Prometheus client for it. */
const PYTHON = '/usr/bin/python3';
const OPENMETRICS = { accept: 'application/openmetrics-text;version=1.0.0' };
const PORT = 8_190;
const SLOW = '4bf92f3577b34da6a3ce929d0e0e4736';
const REQUESTS = [
  { path: '/slow', headers: [`traceparent: 00-${SLOW}-00f067aa0ba902b7-01`] },
  { path: '/error', headers: ['X-Request-ID: a:b/c=7'] },
  { path: '/plain', headers: ['X-Request-ID: "} 1 # {trace_id="x'] },
];

const resources = new AsyncDisposableStack();
let pair: HostPair;
let agent: AgentProcess;

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), 'netsonde-exemplars-'));
  resources.defer(() => rmSync(directory, { recursive: true }));
  pair = resources.use(await HostPair.create());
  const config = join(directory, 'netsonde.yaml');
  writeFileSync(config, JSON.stringify({ probes: { http: true } }));
  agent = resources.use(await AgentProcess.serve(['--config', config]));
  resources.use(await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT));
  runHttp(pair.a.netns, 'send', pair.addressB.ipv4, PORT, JSON.stringify(REQUESTS));
});

afterAll(() => resources.disposeAsync());

/** Returns the IDs of the traces on the lines of a namespace. */
function tracesOf(page: string): string[] {
  const lines = page.split('\n').filter((line) => line.includes(`pod="${pair.b.netns.name}"`));
  return lines.flatMap((line) => / # \{trace_id="([^"]*)"\}/.exec(line)?.[1] ?? []).sort();
}

async function page(): Promise<string> {
  // A new row is at 0 and has no exemplars until every scraper could see that.
  return await eventually(async () => {
    const text = await (await agent.get('/metrics', OPENMETRICS)).text();
    expect(tracesOf(text)).toEqual([SLOW, 'a:b/c=7'].sort());
    return text;
  });
}

it('are on OpenMetrics pages, which Debian’s Python client reads, and on no other page', async () => {
  const text = await page();
  const printed = execFileSync(PYTHON, [CLIENT, 'openmetrics'], { input: text, encoding: 'utf8', maxBuffer: 64 << 20 });
  type Family = [name: string, type: string, samples: number, exemplars: [labels: object, value: number][]];
  const families = JSON.parse(printed) as Family[];
  const total = families.reduce((sum, [, , samples]) => sum + samples, 0);
  expect(parseExposition(text).samples.length).toBe(total);
  const family = families.find(([name]) => name === 'netsonde_http_duration_seconds');
  const slow = family?.[3].filter(([labels]) => JSON.stringify(labels) === JSON.stringify({ trace_id: SLOW }));
  expect(slow?.every(([, value]) => value >= 0.4)).toBe(true);
  expect(slow?.length).toBeGreaterThanOrEqual(2);
  expect(await (await agent.get('/metrics', { accept: 'text/plain' })).text()).not.toContain('trace_id=');
});

it('are read by promtool, which wants a time for each sample', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'promtool-'));
  try {
    const time = 1_767_225_600;
    const lines = (await page()).split('\n').filter((line) => / EOF$|netsonde_http_duration_seconds/.test(line));
    const timed = lines.map((line) => line.replace(/^([^#].*?\} \S+)( # .*)?$/, `$1 ${time}$2`));
    writeFileSync(join(directory, 'page'), `${timed.join('\n')}\n`);
    const said = promtool('tsdb', 'create-blocks-from', 'openmetrics', join(directory, 'page'), directory, '');
    expect(said).toMatch(/^BLOCK ULID.*\n\S{26} /m);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it('are stored by a real Prometheus', async () => {
  const targets = [{ address: new URL(agent.url ?? '').host, labels: {} }];
  await using prometheus = await PrometheusServer.start({ targets });
  const selector = `netsonde_http_duration_seconds_bucket{pod="${pair.b.netns.name}",role="server"}`;
  await eventually(async () => {
    const found = await prometheus.exemplars(selector);
    expect(new Set(found.map(({ labels }) => labels['trace_id']))).toEqual(new Set([SLOW, 'a:b/c=7']));
    const slow = found.find(({ labels }) => labels['trace_id'] === SLOW);
    expect(Number(slow?.value)).toBeGreaterThanOrEqual(0.4);
  });
});
