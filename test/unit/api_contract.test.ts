import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CountersReport } from '#api/counters.ts';
import type { EventRecord } from '#api/events.ts';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { INCIDENT, type Incident, type IncidentsReport } from '#api/incidents.ts';
import { REQUEST_RECORD } from '#api/requests.ts';
import { COMMON_STATUSES, ROUTES } from '#api/routes.ts';
import { DROP_REASONS, PROBE_STATES } from '#api/words.ts';
import { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { sinksSchema } from '#config/sinks.ts';
import { asNetnsId } from '#core/netns.ts';
import { KINDS } from '#core/record_kinds.ts';
import { Connections } from '#http/connections.ts';
import { Listeners } from '#http/listeners.ts';
import { Refusals } from '#http/refusals.ts';
import { Outbox } from '#kernel/outbox.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';
import { createHealthApp } from '#server';
import { ApiHost, KUBERNETES } from '../support/api_host.ts';
import { checkAnswer, readEvent } from '../support/contract.ts';
import { makeFlows } from '../support/flow_lines.ts';
import { readStream } from '../support/incident_streams.ts';
import { eventually } from '../support/oracle.ts';
import { ProbesInAllStates } from '../support/probe_states.ts';
import { failedRequest } from '../support/request_lines.ts';

const SINKS = sinksSchema(KINDS);
const VALUES = { string: 'text', number: 1, strings: ['a', 'b'] } as const;
const JSON_ROUTES = ROUTES.filter(({ isStream }) => isStream !== true);
const EVENTS_PATH = '/api/v1/events';
const FLOW_STREAM = '/api/v1/flows/stream';
const REQUEST_STREAM = '/api/v1/requests/stream';
const INCIDENTS = '/api/v1/incidents';
const INCIDENT_STREAM = '/api/v1/incidents/stream';
const NDJSON = { headers: { accept: 'application/x-ndjson' } };

let probes: ProbesInAllStates;
let host: ApiHost;
let directory: string;

beforeAll(async () => {
  probes = await ProbesInAllStates.open();
});

afterAll(() => probes[Symbol.asyncDispose]());

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'contract-'));
  host = await ApiHost.open();
  host.kernel.probes = probes.status();
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

/** Status codes that were seen, by path. */
const seen = new Map<string, Set<number>>();

/** Requests a path, and checks that the response body matches the schema and that the status code is documented. */
async function answerOf(path: string, init: RequestInit = {}): Promise<{ status: number; body: never }> {
  const response = await host.fetch(path, init);
  const { status } = response;
  const body = (await response.json()) as never;
  checkAnswer(path, status, body);
  note(path, status);
  return { status, body };
}

function note(path: string, status: number): void {
  const [name = ''] = path.split('?');
  seen.set(name, (seen.get(name) ?? new Set()).add(status));
}

/** Requests every route, checks each response, and returns the status codes. */
async function statuses(): Promise<Record<string, number>> {
  const answers = await Promise.all(JSON_ROUTES.map(({ path }) => answerOf(path)));
  return Object.fromEntries(
    JSON_ROUTES.map(({ path }, index) => [path.replace('/api/v1/', ''), answers[index]?.status ?? 0]),
  );
}

const WELL = {
  agent: 200,
  probes: 200,
  entities: 200,
  trouble: 200,
  counters: 200,
  flows: 200,
  map: 200,
  incidents: 200,
  sinks: 200,
  ledger: 200,
  config: 200,
};
const WITHOUT_KERNEL = {
  ...WELL,
  probes: 503,
  entities: 503,
  trouble: 503,
  counters: 503,
  flows: 503,
  map: 503,
  ledger: 503,
};

/** The field that the lane adds to events of connections. */
const ID = { connectionId: expect.stringMatching(/^[\w-]{8}$/) };

/** Returns two events of each type as the kernel thread sends them, one with all fields and one with only the required fields. */
async function eventsOfAllTypes(): Promise<EventRecord[]> {
  const events: EventRecord[] = [];
  const outbox = new Outbox({
    node: 'n1',
    probes: PROBES,
    namesOf: () => [],
    find: (netns) => ({
      kind: 'pod',
      netns,
      inum: 2,
      namespace: 'shop',
      pod: 'cart-0',
      uid: 'u',
      labels: { app: 'cart' },
    }),
    refresh: async () => undefined,
    send: (batch) => events.push(...batch),
    sendRecords: () => undefined,
  });
  for (const probe of PROBES) {
    for (const [type, { fields }] of Object.entries<EventDescriptor>(probe.events)) {
      const entries = Object.entries(fields);
      const filled = (wanted: typeof entries) =>
        Object.fromEntries(wanted.map(([name, field]) => [name, VALUES[field.type]])) as never;
      const publish = outbox.publisher(probe.name) as (type: string, body: unknown) => void;
      const body = { timeNs: 1_700_000_000_123_456_789n, netns: asNetnsId(2), message: 'm' };
      publish(type, { ...body, src: '10.0.0.1:1', dst: '[::1]:2', protocol: 'udp', fields: filled(entries) });
      publish(type, { ...body, fields: filled(entries.filter(([, { optional }]) => optional !== true)) });
    }
  }
  await turn();
  outbox[Symbol.dispose]();
  return events;
}

async function historyOf(headers: Record<string, string>): Promise<string> {
  const response = await host.fetch(`${EVENTS_PATH}?follow=false`, { headers });
  note(EVENTS_PATH, response.status);
  return response.text();
}

describe('every route', () => {
  it('exists: the application and the contract have the same routes', () => {
    const paths = host.app.router.stack
      .flatMap(({ route }) => route?.path ?? [])
      .filter((path) => path.startsWith('/api'));
    expect(paths.sort()).toEqual(ROUTES.map(({ path }) => path).sort());
  });

  it('answers in normal operation, with a probe in each state', async () => {
    expect(await statuses()).toEqual(WELL);
    const { body } = await answerOf('/api/v1/probes');
    const { probes: shown } = body as { probes: { name: string; state: string }[] };
    expect(shown.map(({ state }) => state)).toEqual(PROBE_STATES);
    expect(shown.map(({ name }) => name)).toEqual(PROBE_STATES);
  });

  it.each([
    ['runs', [], { state: 'running', reader: 'tp_btf', reason: '' }],
    ['only scans', ['no BTF'], { state: 'degraded', reader: 'scan', reason: 'no BTF', programs: [] }],
  ])('answers where discovery %s', async (_, degraded, shown) => {
    host.kernel.degraded = degraded;
    expect(await statuses()).toEqual(WELL);
    expect((await answerOf('/api/v1/probes')).body).toMatchObject({ discovery: { name: 'discovery', ...shown } });
  });

  it.each([
    ['not asked', undefined, null],
    ['connected', KUBERNETES, { connected: true, trouble: null }],
    ['away', { ...KUBERNETES, connected: false, trouble: 'pods: gone' }, { connected: false, trouble: 'pods: gone' }],
  ])('answers with the Kubernetes API %s', async (_, state, shown) => {
    host.kubernetes = state;
    expect(await statuses()).toEqual(WELL);
    expect((await answerOf('/api/v1/agent')).body).toMatchObject({ kubernetes: shown });
  });

  it.each(['hangs', 'lost'] as const)('reports that the kernel thread %s', async (state) => {
    host.kernel.state = state;
    expect(await statuses()).toEqual(WITHOUT_KERNEL);
  });

  it('waits for its turn at the kernel thread, and reports when none came', async () => {
    host.kernel.state = 'hangs';
    await Promise.all(Array.from({ length: 4 }, () => host.fetch('/api/v1/entities')));
    const response = await host.fetch('/api/v1/entities');
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await response.json()).toEqual({ error: 'timed out while 4 others were served' });
    expect(host.refusals.counts.get('busy')).toBe(1);
  });

  it('answers after a configuration was rejected, and before one was applied', async () => {
    const fault = (() => {
      try {
        return new ConfigReader(PROBES).parse('{ probes: { packetloss: { limit: 0 }, nothing: true }, detail: much }');
      } catch (error) {
        return error;
      }
    })() as ConfigError;
    expect(fault).toBeInstanceOf(ConfigError);
    const rejected = { at: new Date().toISOString(), faults: fault.faults };
    const configMap = 'netsonde/netsonde/netsonde.yaml';
    host.status = { file: null, configMap, generation: 0, successful: false, appliedMs: 0, notice: '', rejected };
    expect(await statuses()).toEqual(WELL);
    const { body } = await answerOf('/api/v1/config');
    expect(body).toMatchObject({ rejected: { faults: [{ path: 'detail', value: '"much"' }, {}, {}] } });
  });

  it('refuses other machines without a token, other names, and methods that write', async () => {
    const all = async (init: RequestInit = {}) =>
      Promise.all(ROUTES.map(async ({ path }) => (await answerOf(path, init)).status));
    const each = (status: number) => ROUTES.map(() => status);
    host.caller = 'this machine by another name';
    expect(await all()).toEqual(each(403));
    host.caller = 'this machine by two names';
    expect(await all()).toEqual(each(400));
    host.caller = 'another machine';
    expect(await all()).toEqual(each(403));
    host.tokenFile = join(directory, 'token');
    writeFileSync(host.tokenFile, host.token);
    expect(await all()).toEqual(each(401));
    expect(await all({ headers: { authorization: 'Bearer another-one-of-them' } })).toEqual(each(401));
    const bearer = { authorization: `Bearer ${host.token}` };
    expect((await answerOf('/api/v1/agent', { headers: bearer })).status).toBe(200);
    host.loseTokenFile();
    expect(await all({ headers: bearer })).toEqual(each(503));
    expect(new Set(host.warnings)).toEqual(new Set([expect.stringContaining('/nonexistent/token')]));
    const lost = await answerOf('/api/v1/agent', { headers: bearer });
    expect(lost.body).toEqual({ error: 'the agent cannot read its token file; its log has the reason' });
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) expect(await all({ method })).toEqual(each(405));
  });
});

it.each(['/web/%ff', '/web/%', '/web/%E0%A4%A'])('a malformed path, %s: 400 with a message', async (path) => {
  expect(await answerOf(path)).toEqual({ status: 400, body: { error: 'the path or the query is malformed' } });
});

it('the address for the kubelet has health and nothing else', async () => {
  let isReady = false;
  const refusals = new Refusals();
  using listeners = new Listeners(new Connections(refusals), refusals);
  await listeners.onAddress({ host: '127.0.0.1', port: 0 }, createHealthApp({ ready: () => isReady }));
  const statusOf = async (path: string) => (await fetch(`http://${listeners.address}${path}`)).status;
  expect([await statusOf('/healthz'), await statusOf('/readyz')]).toEqual([200, 503]);
  isReady = true;
  expect(await statusOf('/readyz')).toBe(200);
  for (const path of ['/', '/metrics', '/api/v1/agent', '/web/%ff']) expect(await statusOf(path)).toBe(404);
});

it('an unknown path: 404 with a message', async () => {
  for (const path of ['/api/v1/nothing', '/api/v1', '/api/v2/agent', '/api/v1/probes/tcp']) {
    expect((await answerOf(path)).status).toBe(404);
  }
  expect((await answerOf('/api/v1/nothing', { method: 'POST' })).status).toBe(405);
});

describe('sinks and their ledger', () => {
  let refusing: Server;

  beforeEach(async () => {
    refusing = createServer((_, response) => void response.writeHead(400).end('entry too far behind'));
    await new Promise<void>((resolve) => {
      refusing.listen(0, '127.0.0.1', resolve);
    });
  });

  afterEach(() => refusing.close());

  it('answer for a sink that accepts, one that refuses, one that fails, and none', async () => {
    expect((await answerOf('/api/v1/sinks')).body).toEqual({ sinks: [] });
    const blocked = join(directory, 'blocked');
    writeFileSync(blocked, '');
    const url = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}`;
    const taking = { path: join(directory, 'events.json') };
    await host.sinks.apply(SINKS.parse({ file: taking, loki: { url, batch: { age: '10ms' } } }));
    host.lane.receive(await eventsOfAllTypes());
    await eventually(async () => {
      const { body } = await answerOf('/api/v1/ledger');
      const { sinks } = body as { sinks: { sink: string; delivered: number; dropped: object }[] };
      const packetloss = { probe: 'packetloss', pending: 0 };
      expect(sinks).toContainEqual(expect.objectContaining({ ...packetloss, sink: 'file', delivered: 2, dropped: {} }));
      expect(sinks).toContainEqual(expect.objectContaining({ ...packetloss, sink: 'loki', dropped: { rejected: 2 } }));
      expect((await answerOf('/api/v1/sinks')).body).toMatchObject({
        sinks: expect.arrayContaining([
          expect.objectContaining({ name: 'loki', rejected: expect.objectContaining({ why: expect.any(String) }) }),
        ]),
      });
    });
    await host.sinks.apply(SINKS.parse({ file: { path: join(blocked, 'events.json') } }));
    host.lane.receive(await eventsOfAllTypes());
    await eventually(async () => {
      const { body } = await answerOf('/api/v1/sinks');
      expect(body).toMatchObject({ sinks: [{ name: 'file', state: 'failed', until: expect.any(String) }] });
    });
    expect(await statuses()).toEqual(WELL);
    rmSync(blocked);
  });
});

describe('events', () => {
  it('of every type have the common fields and those that their type declares, in both formats', async () => {
    const events = await eventsOfAllTypes();
    const types = PROBES.flatMap(({ events: own }) => Object.keys(own));
    expect([...new Set(events.map(({ type }) => type))].sort()).toEqual(types.sort());
    host.lane.receive(events);
    const lines = (await historyOf({ accept: 'application/x-ndjson' })).trimEnd().split('\n').map(readEvent);
    // The packet in a tunnel has no addresses here, and so no connection.
    const hasConnection = (event: EventRecord) => event.protocol !== undefined && !('innerSrc' in event);
    const sent = events.map((event) => ({ ...event, ...(hasConnection(event) ? ID : {}) }));
    expect(lines).toEqual(sent);
    const data = [...(await historyOf({})).matchAll(/^data: (.*)$/gm)].map(([, json = '']) => readEvent(json));
    expect(data).toEqual(sent);
  });

  it('match the contract when they are folded, have a peer, or have no Pod', async () => {
    const peer = { kind: 'service', namespace: 'shop', name: 'db', ip: '::1' } as const;
    host.peers = {
      find: (ip) => (ip === peer.ip ? peer : undefined),
      identify: () => ({ kind: 'unknown', namespace: '', name: '' }),
      isLocal: () => false,
    };
    host.lane.configure({ limit: 1_000, foldMs: 60_000, foldBy: 'service', history: 0 });
    const events = await eventsOfAllTypes();
    for (let times = 0; times < 3; times++) host.lane.receive(events);
    host.lane.receive(events.map((event) => ({ ...event, netns: '', namespace: null, pod: null })));
    host.lane[Symbol.dispose]();
    const lines = (await historyOf({ accept: 'application/x-ndjson' })).trimEnd().split('\n').map(readEvent);
    expect(lines.filter(({ count }) => count === 2).length).toBeGreaterThan(0);
    expect(lines.filter((event) => event.peer?.name === 'db').length).toBeGreaterThan(0);
    expect(lines.filter(({ pod }) => pod === null).length).toBeGreaterThan(0);
  });

  it.each([
    [
      'folow=true',
      'no such parameter: folow; there are probe, type, namespace, pod, connectionId, since, last, follow',
    ],
    ['folow=true&last=x', 'no such parameter: folow'],
    ['probe=packetloss&probe=tcp', 'probe is given more than once; give probe=a,b for several'],
    ['pod[a]=b', 'pod[a]'],
    ['probe=packetlos', 'no such probe: packetlos (did you mean packetloss?); there are: '],
    ['type=packet_drop,tcp_rest', 'no such type: tcp_rest (did you mean tcp_reset?); there are: '],
    ['since=yesterday', 'since: yesterday is neither a duration (10m) nor a time (RFC 3339)'],
    ['since=', 'since:  is neither a duration (10m) nor a time (RFC 3339)'],
    ['since=10d', 'since: 10d is neither'],
    ['last=two', 'last: two is not a number of events'],
    ['last=1234567', 'last: 1234567 is not a number of events'],
    ['follow=maybe', 'follow: maybe is neither true nor false'],
  ])('?%s is refused with a message', async (query, words) => {
    const { status, body } = await answerOf(`${EVENTS_PATH}?${query}`, NDJSON);
    expect(status).toBe(400);
    expect((body as { error: string }).error).toContain(words);
  });

  it('that a client does not read are bounded: its connection is closed, and counted', async () => {
    const [address, port] = host.address.split(':');
    const client = connect(Number(port), address).on('error', () => undefined);
    client.pause();
    client.write(`GET ${EVENTS_PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await eventually(() => expect(host.bus.followers).toBe(1));
    const [event] = await eventsOfAllTypes();
    const batch = Array.from({ length: 200 }, () => ({ ...event, message: 'm'.repeat(2_000) }) as EventRecord);
    await eventually(async () => {
      host.lane.receive(batch);
      await turn();
      expect(host.bus.followers).toBe(0);
    });
    expect(host.refusals.counts.get('unread')).toBe(1);
    client.destroy();
  });

  it('have a limited number of followers: a client that holds all streams loses its oldest to a new one', async () => {
    const streams = await Promise.all(Array.from({ length: 16 }, () => host.fetch(EVENTS_PATH)));
    const newest = await host.fetch(EVENTS_PATH);
    expect(newest.status).toBe(200);
    await expect(streams[0]?.text()).rejects.toThrow();
    await eventually(() => expect(host.bus.followers).toBe(16));
    await Promise.all([newest, ...streams.slice(1)].map(({ body }) => body?.cancel()));
  });
});

it('counters refuse an unknown parameter, and are those of one Pod', async () => {
  const wrong = await answerOf('/api/v1/counters?pods=a');
  expect([wrong.status, (wrong.body as { error: string }).error]).toEqual([400, expect.stringContaining('pods')]);
  const read = async (query: string) => {
    const { body } = await answerOf(`/api/v1/counters${query}`);
    return (body as CountersReport).namespaces.map(({ netns, tables }) => [netns, tables['Ip']?.['OutNoRoutes']]);
  };
  expect(await read('')).toEqual([['1', 2 ** 60]]);
  expect(await read('?namespace=shop&pod=cart-0')).toEqual([['2', 2 ** 60]]);
  expect(await read('?pod=blue')).toEqual([['4', 2 ** 60]]);
  expect(await read('?namespace=shop&pod=none')).toEqual([]);
});

describe('flows', () => {
  it.each(['/api/v1/flows', '/api/v1/map'])('%s says that the probe is off, and how to switch it on', async (path) => {
    host.kernel.flows = undefined;
    const { status, body } = await answerOf(path);
    expect([status, (body as { error: string }).error]).toEqual([409, expect.stringContaining('probes: { flow:')]);
  });

  it.each(['/api/v1/flows', FLOW_STREAM])('%s refuses a wrong parameter with a message', async (path) => {
    const { status, body } = await answerOf(`${path}?port=x`);
    expect([status, body]).toEqual([400, { error: 'port: x is not a port; give a number from 1 to 65535' }]);
  });

  it('are streamed in both formats', async () => {
    const [flow] = makeFlows(1) as [FlowRecord];
    host.flows.publish([flow]);
    const lines = await host.fetch(`${FLOW_STREAM}?follow=false`, NDJSON);
    note(FLOW_STREAM, lines.status);
    expect(FLOW_RECORD.parse(await lines.json())).toEqual(flow);
    const events = await (await host.fetch(`${FLOW_STREAM}?follow=false`)).text();
    expect(events).toBe(`id: ${host.flows.run}-1\nevent: flow\ndata: ${JSON.stringify(flow)}\n\n`);
  });
});

it('requests are streamed in both formats', async () => {
  const request = failedRequest();
  host.requests.publish([request]);
  const lines = await host.fetch(`${REQUEST_STREAM}?follow=false`, NDJSON);
  note(REQUEST_STREAM, lines.status);
  const text = await lines.text();
  expect(REQUEST_RECORD.parse(JSON.parse(text))).toEqual(request);
  const events = await (await host.fetch(`${REQUEST_STREAM}?follow=false`)).text();
  expect(events).toBe(`id: ${host.requests.run}-1\nevent: request\ndata: ${text}\n`);
});

describe('incidents', () => {
  const ask = async (query: string) => {
    const { body } = await answerOf(`${INCIDENTS}?${query}`);
    return (body as IncidentsReport).incidents.map(({ state, cause }) => `${state} ${cause}`);
  };

  it('are those that are open, and those that have ended', async () => {
    host.peers = {
      find: (ip) => ({ kind: 'pod', namespace: 'shop', name: ip === '10.9.2.1' ? 'server' : 'client', ip }),
      identify: () => ({ kind: 'unknown', namespace: '', name: '' }),
      isLocal: () => true,
    };
    const [refused, mtu] = [readStream('refused'), readStream('mtu')];
    host.lane.receive([...refused, ...mtu]);
    const [first] = host.lane.incidents.list();
    host.incidents.publish([
      { ...(first as Incident), id: 'earlier', state: 'ended', lastTime: '2026-01-01T00:00:00.000000000Z' },
    ]);
    expect((await ask('')).sort()).toEqual(['ended refused', 'open mtu', 'open refused']);
    expect(await ask('cause=mtu')).toEqual(['open mtu']);
    expect(await ask('namespace=shop&pod=server&since=2026-01-02T00:00:00Z')).toHaveLength(2);
    expect(await ask('namespace=other')).toEqual([]);
  });

  it.each([INCIDENTS, INCIDENT_STREAM])('%s refuses a wrong cause with a message', async (path) => {
    const { status, body } = await answerOf(`${path}?cause=bad`);
    expect(status).toBe(400);
    expect((body as { error: string }).error).toContain('cause: bad is not a cause; there are: accept_queue, ');
  });

  it('are streamed in both formats', async () => {
    host.lane.receive(readStream('refused'));
    host.lane[Symbol.dispose]();
    const lines = await host.fetch(`${INCIDENT_STREAM}?follow=false`, NDJSON);
    note(INCIDENT_STREAM, lines.status);
    const incident = INCIDENT.parse(await lines.json());
    expect(incident).toMatchObject({ cause: 'refused', count: 80 });
    const events = await (await host.fetch(`${INCIDENT_STREAM}?follow=false`)).text();
    expect(events).toBe(`id: ${host.incidents.run}-1\nevent: incident\ndata: ${JSON.stringify(incident)}\n\n`);
  });
});

it('the tests above saw all documented statuses and no others', () => {
  for (const { path, statuses: own } of ROUTES) {
    const documented = ['200', ...Object.keys(COMMON_STATUSES), ...Object.keys(own)];
    expect([path, [...(seen.get(path) ?? [])].sort()]).toEqual([path, [...new Set(documented.map(Number))].sort()]);
  }
});

type Node = Record<string, unknown> | unknown[];

/** Names of fields whose schema allows any key. */
const OPEN = new Set(['document', 'labels', 'dropped', 'failed', 'ends', 'events', 'tables']);

/** Returns the objects and arrays within a value, except those below `OPEN`. */
function nodesOf(value: unknown): Node[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.entries(value).filter(([key]) => !OPEN.has(key));
  return [value as Node, ...inner.flatMap(([, child]) => nodesOf(child))];
}

it.each(JSON_ROUTES.map(({ path }) => path))(
  '%s: no field too many, and none too few, anywhere in the answer',
  async (path) => {
    host.status = {
      ...host.status,
      rejected: { at: new Date().toISOString(), faults: [{ path: '', value: '', allowed: '' }] },
    };
    await host.sinks.apply(SINKS.parse({ file: { path: join(directory, 'events.json') } }));
    host.lane.receive(await eventsOfAllTypes());
    const { body } = await answerOf(path);
    const refused = (change: string) => expect(() => checkAnswer(path, 200, body), change).toThrow();
    for (const node of nodesOf(body)) {
      if (Array.isArray(node)) continue;
      node['surplus'] = 1;
      refused(`an additional field in ${JSON.stringify(node).slice(0, 100)}`);
      delete node['surplus'];
      for (const [key, value] of Object.entries(node)) {
        delete node[key];
        refused(`${key} left out`);
        node[key] = { [key]: value };
        if (!OPEN.has(key)) refused(`${key} wrapped`);
        node[key] = value;
      }
    }
    checkAnswer(path, 200, body);
  },
);

it('a drop reason outside the contract is refused', async () => {
  const row = { kind: 'event', probe: 'tcp', sink: 'file', delivered: 0, pending: 0, recovered: 0 };
  const report = (dropped: object) => ({ probes: [], sinks: [{ ...row, dropped }] });
  for (const reason of DROP_REASONS) checkAnswer('/api/v1/ledger', 200, report({ [reason]: 1 }));
  expect(() => checkAnswer('/api/v1/ledger', 200, report({ eaten: 1 }))).toThrow(/dropped/);
});
