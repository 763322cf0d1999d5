import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlowRole } from '#api/words.ts';
import { FILE } from '#bpf/generated/l7.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { IDLE_MS, REQUEST_ROWS } from '#probe/request_rows.ts';
import { clockAhead } from '../support/clock_ahead.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { HostPair, type TestNetns } from '../support/hosts.ts';
import { type Answers, loadHttp, WebServer } from '../support/http_traffic.ts';
import { runHttp2, startHttp2 } from '../support/http2_traffic.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { followLoads } from '../support/loads.ts';
import { eventually } from '../support/oracle.ts';

const [PORT, DEFERRED_PORT, HTTP2_PORT, GRPC_PORT] = [8_180, 8_181, 8_182, 8_184];
const EDGES = 'netsonde_http_edge_requests_total';
const ERRORS = 'netsonde_http_edge_errors_total';
const DURATIONS = 'netsonde_http_edge_duration_seconds_count';
const TOTAL = 'netsonde_http_requests_total';

/** Number of sweeps after which an idle row has ended: one that announces its end, one that deletes it, and one more. */
const LOOKS = 3;

const BOTH = { http: { enabled: true }, flow: { enabled: true } };

/** Sums the samples that have these labels. */
function sum(page: Exposition, name: string, labels: Readonly<Record<string, string>>): number {
  return (page.named.get(name) ?? [])
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((total, { value }) => total + Number(value), 0);
}

function count(answers: Readonly<Record<string, number>>, matches: RegExp): number {
  return Object.entries(answers)
    .filter(([key]) => matches.test(key))
    .reduce((total, [, number]) => total + number, 0);
}

/** Makes calls of gRPC. Returns the answers as the client has counted them. */
async function callGrpc(server: TestNetns, client: TestNetns, host: string): Promise<Answers> {
  await using _ = await startHttp2(server, 'serve', `${host}:${GRPC_PORT}`);
  return runHttp2(client, 'call', `${host}:${GRPC_PORT}`, 90, 4);
}

describe.skipIf(lacksApplications())('requests between two namespaces', () => {
  let pair: HostPair;

  beforeAll(async () => {
    pair = await HostPair.create();
  });

  afterAll(() => pair?.[Symbol.asyncDispose]());

  const identify = (ip: string): PeerIdentity => {
    const { a, b, addressA, addressB } = pair;
    const found = [
      [a, addressA],
      [b, addressB],
    ] as const;
    const owner = found.find(([, { ipv4, ipv6 }]) => ip === ipv4 || ip === ipv6)?.[0];
    return owner === undefined ? UNKNOWN_PEER : { kind: 'local', namespace: '', name: owner.netns.name };
  };

  it('are counted for each edge as nginx logs them, and sum up to the total of the Pod', async () => {
    const { a, b, addressA, addressB } = pair;
    await using agent = await TestKernel.open(only(BOTH, { detail: 'full' }), { identify });
    await using serverB = await WebServer.start(b.netns, PORT, DEFERRED_PORT, HTTP2_PORT);
    await using serverA = await WebServer.start(a.netns, PORT, DEFERRED_PORT);
    const answers = {
      forth: loadHttp(a.netns, addressB.ipv4, PORT, { count: 320, depth: 1, connections: 8 }),
      deferred: loadHttp(a.netns, addressB.ipv6, DEFERRED_PORT, { count: 160, depth: 4, connections: 4 }),
      back: loadHttp(b.netns, addressA.ipv4, PORT, { count: 80, depth: 16, connections: 2 }),
      http2: runHttp2(a.netns, 'load', `${addressB.ipv4}:${HTTP2_PORT}`, 96, 8, 2),
      grpc: await callGrpc(b.netns, a.netns, addressB.ipv4),
    };
    await eventually(() => {
      expect(count(serverB.log(), /./)).toBe(576);
      expect(count(serverA.log(), /./)).toBe(80);
    });
    // The codes of gRPC are INTERNAL and UNAVAILABLE.
    const errors = (load: keyof typeof answers) => count(answers[load], load === 'grpc' ? / 1[34]$/ : / 5\d\d$/);
    const page = await agent.page();
    const expected: [pod: string, role: FlowRole, peer: string, port: number, load: keyof typeof answers][] = [
      [a.netns.name, 'client', b.netns.name, PORT, 'forth'],
      [a.netns.name, 'client', b.netns.name, DEFERRED_PORT, 'deferred'],
      [b.netns.name, 'server', a.netns.name, PORT, 'forth'],
      [b.netns.name, 'server', a.netns.name, DEFERRED_PORT, 'deferred'],
      [b.netns.name, 'client', a.netns.name, PORT, 'back'],
      [a.netns.name, 'server', b.netns.name, PORT, 'back'],
      [a.netns.name, 'client', b.netns.name, HTTP2_PORT, 'http2'],
      [b.netns.name, 'server', a.netns.name, HTTP2_PORT, 'http2'],
      [a.netns.name, 'client', b.netns.name, GRPC_PORT, 'grpc'],
      [b.netns.name, 'server', a.netns.name, GRPC_PORT, 'grpc'],
    ];
    for (const load of ['forth', 'http2', 'grpc'] as const) expect([load, errors(load)]).not.toEqual([load, 0]);
    for (const [pod, role, peer, port, load] of expected) {
      const labels = { pod, role, peer_kind: 'local', peer, port: String(port) };
      expect([labels, sampleValue(page, EDGES, labels)]).toEqual([labels, count(answers[load], /./)]);
      expect([labels, sampleValue(page, ERRORS, labels)]).toEqual([labels, errors(load)]);
      expect([labels, sampleValue(page, DURATIONS, labels)]).toEqual([labels, count(answers[load], /./)]);
    }
    for (const { netns } of [a, b]) {
      for (const role of ['client', 'server']) {
        expect(sum(page, EDGES, { pod: netns.name, role })).toBe(sum(page, TOTAL, { pod: netns.name, role }));
      }
    }
  });

  it('are counted by edge only while flow is on', async () => {
    const { a, b, addressB } = pair;
    await using agent = await TestKernel.open(only({ http: { enabled: true } }), { identify });
    await using server = await WebServer.start(b.netns, PORT, DEFERRED_PORT);
    const load = () => loadHttp(a.netns, addressB.ipv4, PORT, { count: 40, depth: 1, connections: 2 });
    load();
    const before = await agent.page();
    expect(sum(before, EDGES, {})).toBe(0);
    expect(agent.kernel.probes().find(({ name }) => name === 'http')?.reason).toMatch(/the probe flow does not run/);
    await agent.kernel.configure(probesOf(only(BOTH)));
    load();
    await eventually(() => expect(count(server.log(), /./)).toBe(80));
    const labels = { pod: b.netns.name, role: 'server' };
    expect(sum(await agent.page(), EDGES, labels)).toBe(40);
    await agent.kernel.configure(probesOf(only({ http: { enabled: true } })));
    load();
    const after = await agent.page();
    expect([sum(after, EDGES, labels), sum(after, TOTAL, labels)]).toEqual([40, 120]);
  });

  it('keep their sums when they have been idle, and make room for others', async () => {
    const { a, b, addressB } = pair;
    using loaded = followLoads(FILE);
    await using agent = await TestKernel.open(only(BOTH), { identify });
    await using server = await WebServer.start(b.netns, PORT, DEFERRED_PORT);
    const cookies = [a.netns.cookie, b.netns.cookie];
    const rows = () => {
      const { count: entries, view, keyAt } = loaded.last.map(REQUEST_ROWS).dump();
      const owners = Array.from({ length: entries }, (_, index) => view.getBigUint64(keyAt(index), true));
      return owners.filter((cookie) => cookies.includes(cookie)).length;
    };
    const load = () => loadHttp(a.netns, addressB.ipv4, PORT, { count: 40, depth: 1, connections: 2 });
    const edges = (page: Exposition) =>
      [a, b].map(({ netns }) => sum(page, EDGES, { pod: netns.name, port: String(PORT) }));
    load();
    await eventually(async () => expect(edges(await agent.page())).toEqual([40, 40]));
    expect(rows()).toBe(2);
    using clock = clockAhead();
    for (let looks = 0; looks < LOOKS; looks++) {
      clock.aheadMs += IDLE_MS;
      expect(edges(await agent.page())).toEqual([40, 40]);
    }
    expect(rows()).toBe(0);
    load();
    await eventually(() => expect(count(server.log(), /./)).toBe(80));
    expect(edges(await agent.page())).toEqual([80, 80]);
    expect(agent.logs.filter((line) => line.startsWith('error'))).toEqual([]);
  });
});
