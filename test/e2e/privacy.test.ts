import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LEDGER_REPORT } from '#api/ledger.ts';
import { REQUEST_RECORD } from '#api/requests.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { HostPair } from '../support/hosts.ts';
import { HttpProcess, runHttp } from '../support/http_traffic.ts';
import { eventually } from '../support/oracle.ts';

const PORT = 8_290;
/** Parts of the requests that must not be seen anywhere. */
const SECRET = /verysecret|5ec4e75ec4e75ec4e75ec4e75ec4e751/;
const REQUESTS = [
  {
    path: '/error/verysecret',
    headers: ['traceparent: 00-5ec4e75ec4e75ec4e75ec4e75ec4e751-00f067aa0ba902b7-01', 'Cookie: verysecret'],
  },
];

const resources = new AsyncDisposableStack();
let directory: string;
let pair: HostPair;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'netsonde-privacy-'));
  resources.defer(() => rmSync(directory, { recursive: true }));
  pair = resources.use(await HostPair.create());
  resources.use(await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT));
});

afterAll(() => resources.disposeAsync());

/** Returns all outputs of an agent about failed requests: API, both pages and a sink. */
async function outputsOf(name: string, privacy: object): Promise<Readonly<Record<string, string>>> {
  const [config, file] = [join(directory, `${name}.yaml`), join(directory, `${name}.log`)];
  writeFileSync(
    config,
    JSON.stringify({
      privacy,
      probes: { http: { enabled: true, records: { failed: true } } },
      sinks: { file: { path: file, kinds: ['event', 'request', 'flow'] } },
    }),
  );
  await using agent = await AgentProcess.serve(['--config', config]);
  runHttp(pair.a.netns, 'send', pair.addressB.ipv4, PORT, JSON.stringify(REQUESTS));
  const ndjson = { accept: 'application/x-ndjson' };
  const pod = `"pod":"${pair.b.netns.name}"`;
  return await eventually(async () => {
    const read = async (path: string, headers: Record<string, string>) => (await agent.get(path, headers)).text();
    const outputs = {
      events: await read('/api/v1/events?follow=false', ndjson),
      requests: await read('/api/v1/requests/stream?follow=false', ndjson),
      incidents: await read('/api/v1/incidents', {}),
      sink: readFileSync(file, 'utf8'),
      text: await read('/metrics', { accept: 'text/plain' }),
      openmetrics: await read('/metrics', { accept: 'application/openmetrics-text;version=1.0.0' }),
      flows: await read('/api/v1/flows', {}),
      map: await read('/api/v1/map', {}),
    };
    for (const output of ['events', 'requests', 'sink'] as const) expect(outputs[output], output).toContain(pod);
    const buckets = outputs.openmetrics.split('\n').filter((line) => line.includes(`pod="${pair.b.netns.name}"`));
    // A new row is at 0 first.
    expect(buckets.some((line) => /^netsonde_http_duration_seconds_count.* [1-9]/.test(line))).toBe(true);
    expect(buckets.some((line) => /^netsonde_flow_sent_bytes_total.*role="server"/.test(line))).toBe(true);
    for (const output of ['flows', 'map'] as const) expect(outputs[output], output).toContain(pair.b.netns.name);
    await expectBalance(agent, file);
    return outputs;
  });
}

/** Checks that each record of a request was delivered to the file, dropped by a limit, or waits, and is counted so. */
async function expectBalance(agent: AgentProcess, file: string): Promise<void> {
  const { probes, sinks } = LEDGER_REPORT.parse(await agent.json('/api/v1/ledger'));
  const isRequest = ({ kind, probe }: { kind: string; probe: string }) => kind === 'request' && probe === 'http';
  const [made, ...others] = probes.filter(isRequest);
  const [sink, ...more] = sinks.filter(isRequest);
  if (made === undefined || sink === undefined) throw new Error('the ledger has no account of requests');
  expect([others, more]).toEqual([[], []]);
  const { produced, limited, limitedLater, lost, folded, held } = made;
  const dropped = Object.values(sink.dropped).reduce((sum, count) => sum + count, 0);
  const ended = limited + limitedLater + lost + folded + held + dropped + sink.delivered + sink.pending;
  expect(produced + sink.recovered).toBe(ended);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const records = lines.filter((line) => REQUEST_RECORD.safeParse(JSON.parse(line)).success);
  expect(records).toHaveLength(sink.delivered);
  // Both ends of the failed request have a record.
  expect(sink.delivered).toBeGreaterThanOrEqual(2);
}

it('shows paths, traces and peers in each output, unless the configuration hides them, never a cookie, and the ledger of requests balances', async () => {
  const shown = await outputsOf('shown', {});
  const hidden = await outputsOf('hidden', { '*': { paths: false, traces: false, peers: false } });
  for (const output of ['events', 'requests', 'sink', 'openmetrics']) expect(shown[output], output).toMatch(SECRET);
  expect(shown['openmetrics']).not.toContain('Cookie');
  for (const [output, text] of Object.entries(hidden)) expect(text, output).not.toMatch(SECRET);
  expect(shown['flows']).toContain(`"peer":"${pair.addressB.ipv4}"`);
  expect(hidden['flows']).toContain('"peer":"hidden","peerKind":"hidden"');
  expect(hidden['map']).toContain('"kind":"hidden"');
  for (const output of ['text', 'openmetrics', 'flows', 'map']) {
    expect(hidden[output], output).not.toContain(pair.addressB.ipv4);
    expect(hidden[output], output).not.toMatch(/peerName":"[^"*]|peer="(?!hidden|\*)/);
  }
});
