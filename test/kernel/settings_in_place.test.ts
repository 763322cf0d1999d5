import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { DnsServer } from '../support/dns_traffic.ts';
import { HostPair, startPython } from '../support/hosts.ts';
import { HttpProcess, runHttp } from '../support/http_traffic.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PORT = 8_460;
/** Nothing listens on this port. */
const CLOSED = 8_461;
const ROUNDS = 300;

type Sections = Readonly<Record<string, object>>;

/** Probes whose programs take long to load, and some others. */
const PROBES = ['http', 'dns', 'flow', 'tcpconnect', 'packetloss', 'socketlatency'];

/** In each round: a connection with a request, a query, and a datagram that is dropped. */
const CLIENT = `
import http.client, socket, struct, sys
server = sys.argv[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(20)
name = b'\\x07noerror\\x04test\\x00'
for number in range(${ROUNDS}):
    connection = http.client.HTTPConnection(server, ${PORT})
    connection.request('GET', '/ok')
    connection.getresponse().read()
    connection.close()
    udp.sendto(struct.pack('!6H', number, 0x100, 1, 0, 0, 0) + name + b'\\x00\\x01\\x00\\x01', (server, 53))
    udp.recv(512)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lost: lost.sendto(b'x', (server, ${CLOSED}))
`;

let pair: HostPair;
let agent: TestKernel;
let loaded: unknown;

const configOf = (sections: Sections = {}, more: object = {}) =>
  only(Object.fromEntries(PROBES.map((name) => [name, { enabled: true, ...sections[name] }])), { ...more });
const configure = (sections?: Sections, more?: object) => agent.kernel.configure(probesOf(configOf(sections, more)));

/** Identifies each load of each program. */
function programs() {
  return agent.kernel.probes().flatMap((probe) => probe.programs.map(({ name, id }) => [probe.name, name, id]));
}

/** Returns what one round adds 1 to, at each end. */
async function counts(): Promise<Record<string, number | undefined>> {
  const page = await agent.page();
  const sum = (pod: HostPair['a'], name: string, labels: Readonly<Record<string, string>>) =>
    sumsOf(page, name, { pod: pod.netns.name, ...labels }, [])[''] ?? 0;
  const ends = [
    ['client', pair.a],
    ['server', pair.b],
  ] as const;
  return Object.fromEntries([
    ...ends.flatMap(([role, pod]) => [
      [`requests of the ${role}`, sum(pod, 'netsonde_http_requests_total', { role })],
      [`requests by peer of the ${role}`, sum(pod, 'netsonde_http_edge_requests_total', { role })],
      [`queries of the ${role}`, sum(pod, 'netsonde_dns_queries_total', { role })],
      [`answers of the ${role}`, sum(pod, 'netsonde_dns_answers_total', { role })],
      [`connections of the ${role}`, sum(pod, 'netsonde_flow_connections_total', { role })],
      [`connection times of the ${role}`, sum(pod, 'netsonde_tcp_connect_seconds_count', { role })],
    ]),
    [
      'dropped datagrams',
      sum(pair.b, 'netsonde_packet_drops_total', { reason: 'NO_SOCKET' }) +
        sum(pair.b, 'netsonde_packet_discards_total', { class: 'configured' }),
    ],
  ]);
}

/** Returns the events of the two namespaces. */
function eventsOf(type: string) {
  const pods = [pair.a.netns.name, pair.b.netns.name];
  return agent.events.filter((event) => event.type === type && pods.includes(event.pod ?? ''));
}

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(configOf());
  loaded = programs();
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  agent.events.length = 0;
});

it('counts everything once while all such settings change under traffic, and loads no program', async () => {
  const others: Sections = {
    http: { limit: 7, slow: '1us', paths: 'off', records: { failed: true, sample: '50%', slow: '1ms' } },
    dns: { limit: 7, timeout: '100ms', storm: 1, buckets: { from: '1ms', to: '1s' } },
    flow: {
      ...{ limit: 7, events: false, records: { sample: '50%' }, rows: 1_024, edges: 1, ports: 1, zones: true },
      threshold: { roundTrip: '1us', segments: 1 },
    },
    tcpconnect: { limit: 7, events: false, buckets: { from: '1us', to: '1s' } },
    packetloss: { limit: 7, tunnels: false, vxlanPorts: [1], noLoss: ['NO_SOCKET'] },
    socketlatency: { limit: 7, threshold: '1us', buckets: { from: '1us', to: '1s' } },
  };
  await using _dns = await DnsServer.start(pair.b.netns, pair.addressB.ipv4);
  await using _http = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT);
  const before = await counts();
  const client = spawn('ip', ['netns', 'exec', pair.a.netns.name, 'python3', '-c', CLIENT, pair.addressB.ipv4], {
    stdio: 'inherit',
  });
  const exited = once(client, 'exit');
  let changes = 0;
  while (client.exitCode === null) {
    await configure(changes % 2 === 0 ? others : {}, { detail: changes % 4 < 2 ? 'full' : 'core' });
    changes++;
    await Promise.race([wait(20), exited]);
    if (changes % 5 === 0) await agent.page();
  }
  expect(await exited).toEqual([0, null]);
  expect(changes).toBeGreaterThan(4);
  await configure();
  await eventually(async () => {
    const after = await counts();
    const grown = Object.entries(after).map(([what, count]) => [what, (count ?? 0) - (before[what] ?? 0)]);
    expect(Object.fromEntries(grown)).toEqual(Object.fromEntries(grown.map(([what]) => [what, ROUNDS])));
  });
  expect(programs()).toEqual(loaded);
});

it('http reports by the new threshold, limit and rules, and writes no path', async () => {
  await using _ = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT);
  const send = (...paths: readonly string[]) =>
    runHttp(
      pair.a.netns,
      'send',
      pair.addressB.ipv4,
      PORT,
      JSON.stringify(paths.map((path) => ({ path, headers: [] }))),
    );
  const all = () => agent.records.flatMap((batch) => (batch.kind === 'request' ? batch.values : []));
  const earlier = all().length;
  const records = () =>
    all()
      .slice(earlier)
      .filter(({ pod }) => pod === pair.b.netns.name);
  await configure({ http: { slow: '30s' } });
  send('/ok', '/error');
  await eventually(() => expect(eventsOf('http_request_failed')).toHaveLength(2));
  expect(eventsOf('http_request_slow')).toEqual([]);
  expect(records()).toEqual([]);
  await configure({ http: { slow: '1us', paths: 'off', records: { failed: true } } });
  send('/ok', '/error');
  await eventually(() => expect(eventsOf('http_request_slow')).toHaveLength(2));
  await eventually(() => expect(records().map(({ status }) => status)).toEqual([503]));
  expect(eventsOf('http_request_slow').map(({ path }) => path)).toEqual([undefined, undefined]);
  const limited = () => agent.kernel.ledger().find(({ probe, kind }) => probe === 'http' && kind === 'event')?.limited;
  const before = limited() ?? 0;
  await configure({ http: { limit: 1 } });
  send(...Array.from({ length: 50 }, () => '/error'));
  await eventually(() => expect((limited() ?? 0) - before).toBeGreaterThan(80));
  expect(records()).toHaveLength(1);
  expect(programs()).toEqual(loaded);
});

it('dns gives a query up after the new timeout, even if it was sent before', async () => {
  await configure({ dns: { timeout: '30s' } });
  await using _ = await startPython(
    pair.b.netns,
    `import socket, time
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(('${pair.addressB.ipv4}', 53))
print('ready')
time.sleep(3600)`,
  );
  pair.a.netns.python(`import socket, struct
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.sendto(struct.pack('!6H', 1, 0x100, 1, 0, 0, 0) + b'\\x05quiet\\x04test\\x00\\x00\\x01\\x00\\x01', ('${pair.addressB.ipv4}', 53))`);
  await configure({ dns: { timeout: '100ms' } });
  const events = await eventually(() => {
    const found = eventsOf('dns_unanswered').filter(({ role }) => role === 'client');
    expect(found).toHaveLength(1);
    return found;
  });
  expect(events[0]).toMatchObject({ name: 'quiet.test' });
  expect(Number(events[0]?.['seconds'])).toBeLessThan(30);
  expect(programs()).toEqual(loaded);
});

it('flow and tcpconnect send events and records by the new rules', async () => {
  const records = () =>
    agent.records
      .flatMap((batch) => (batch.kind === 'flow' ? batch.values : []))
      .filter(({ pod, dst }) => pod === pair.a.netns.name && dst.startsWith(pair.addressB.ipv4));
  const refuse = () =>
    pair.a.netns.python(`import socket
try: socket.create_connection(('${pair.addressB.ipv4}', ${CLOSED}))
except ConnectionRefusedError: pass`);
  await configure({ flow: { records: { failed: false } }, tcpconnect: { events: false } });
  const earlier = records().length;
  refuse();
  await configure({ flow: { records: { failed: true } } });
  refuse();
  await eventually(() => expect(records().length - earlier).toBe(1));
  await eventually(() => expect(eventsOf('connection_failed')).toHaveLength(1));
  await using _ = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT);
  await configure({ flow: { threshold: { roundTrip: '1us', segments: 1 } } });
  runHttp(pair.a.netns, 'send', pair.addressB.ipv4, PORT, JSON.stringify([{ path: '/ok', headers: [] }]));
  await eventually(() => expect(eventsOf('connection_degraded').length).toBeGreaterThan(0));
  expect(programs()).toEqual(loaded);
});

it('packetloss and the probes of latencies use the new rules, and a bad value leaves the old ones', async () => {
  const drop = (count: number) => pair.a.udpSend({ address: pair.addressB.ipv4, port: CLOSED, count, bytes: 10 });
  const drops = async () => {
    const labels = { pod: pair.b.netns.name, reason: 'NO_SOCKET' };
    return sumsOf(await agent.page(), 'netsonde_packet_drops_total', labels, [])[''] ?? 0;
  };
  await configure({ packetloss: { noLoss: ['NO_SOCKET'] }, socketlatency: { threshold: '30s' } });
  const before = await drops();
  await drop(5);
  expect(() => probesOf(configOf({ packetloss: { noLoss: ['no socket'] } }))).toThrow(/the name of a reason/);
  await drop(5);
  expect(await drops()).toBe(before);
  expect(eventsOf('packet_drop')).toEqual([]);
  await configure({ socketlatency: { threshold: '1us' } });
  await drop(5);
  await eventually(async () => expect((await drops()) - before).toBe(5));
  await eventually(() => expect(eventsOf('packet_drop').length).toBe(5));
  await pair.b.udpReceive({ address: pair.addressB.ipv4, port: PORT });
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 20, bytes: 10 });
  await eventually(() => expect(eventsOf('socket_read_slow').length).toBeGreaterThan(0));
  expect(programs()).toEqual(loaded);
});
