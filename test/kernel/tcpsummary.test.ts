import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { HostPair, type TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually, readBoth } from '../support/oracle.ts';
import { TcpHost } from '../support/tcp_host.ts';

/** Maps the state names of ss to ours. ss also shows connection requests as SYN-RECV. */
const SS_STATES: Readonly<Record<string, string>> = {
  ESTAB: 'established',
  'SYN-SENT': 'syn_sent',
  'SYN-RECV': 'syn_recv',
  'FIN-WAIT-1': 'fin_wait1',
  'FIN-WAIT-2': 'fin_wait2',
  'TIME-WAIT': 'time_wait',
  UNCONN: 'close',
  'CLOSE-WAIT': 'close_wait',
  'LAST-ACK': 'last_ack',
  LISTEN: 'listen',
  CLOSING: 'closing',
};
const WITHOUT_QUEUES = ['SYN-SENT', 'SYN-RECV', 'TIME-WAIT', 'UNCONN', 'LISTEN'];

interface Numbers {
  connections: Record<string, number>;
  receiveQueue: number;
  sendQueue: number;
  largestReceiveQueue: number;
  largestSendQueue: number;
  acceptQueues: Record<string, { length: number; limit: number }>;
}

function nothing(): Numbers {
  return {
    connections: Object.fromEntries(Object.values(SS_STATES).map((state) => [state, 0])),
    receiveQueue: 0,
    sendQueue: 0,
    largestReceiveQueue: 0,
    largestSendQueue: 0,
    acceptQueues: {},
  };
}

function ss({ netns }: TcpHost): Numbers {
  const numbers = nothing();
  for (const line of netns.exec('ss -tanH').trim().split('\n')) {
    const [state = '', receive, send, local = ''] = line.split(/\s+/);
    const [received, sent] = [Number(receive), Number(send)];
    const name = SS_STATES[state] ?? state;
    numbers.connections[name] = (numbers.connections[name] ?? 0) + 1;
    if (state === 'LISTEN') {
      const port = local.replace(/^.*:/, '');
      const { length, limit } = numbers.acceptQueues[port] ?? { length: 0, limit: 0 };
      numbers.acceptQueues[port] = { length: length + received, limit: limit + sent };
    } else if (!WITHOUT_QUEUES.includes(state)) {
      numbers.receiveQueue += received;
      numbers.sendQueue += sent;
      numbers.largestReceiveQueue = Math.max(numbers.largestReceiveQueue, received);
      numbers.largestSendQueue = Math.max(numbers.largestSendQueue, sent);
    }
  }
  return numbers;
}

function shown(page: Exposition, { netns }: TcpHost): Numbers & { requests: number | undefined } {
  const numbers = nothing();
  const pod = { namespace: '', pod: netns.name };
  const value = (name: string, labels = {}) => sampleValue(page, `netsonde_tcp_${name}`, { ...pod, ...labels });
  for (const state of Object.keys(numbers.connections))
    numbers.connections[state] = value('connections', { state }) ?? NaN;
  const requests = value('connections', { state: 'new_syn_recv' });
  numbers.connections['syn_recv'] = (numbers.connections['syn_recv'] ?? NaN) + (requests ?? NaN);
  for (const { name, labels } of page.samples) {
    if (name !== 'netsonde_tcp_accept_queue_length' || labels['pod'] !== netns.name) continue;
    const { port = '' } = labels;
    const [length, limit] = [value('accept_queue_length', { port }), value('accept_queue_limit', { port })];
    numbers.acceptQueues[port] = { length: length ?? NaN, limit: limit ?? NaN };
  }
  return {
    ...numbers,
    receiveQueue: value('receive_queue_bytes') ?? NaN,
    sendQueue: value('send_queue_bytes') ?? NaN,
    largestReceiveQueue: value('receive_queue_largest_bytes') ?? NaN,
    largestSendQueue: value('send_queue_largest_bytes') ?? NaN,
    requests,
  };
}

const resources = new AsyncDisposableStack();
let client: TcpHost;
let server: TcpHost;

function drop(netns: TestNetns, match: string): void {
  netns.exec('nft add table inet t');
  netns.exec('nft add chain inet t i { type filter hook input priority 0 ; }');
  netns.exec(`nft add rule inet t i tcp ${match} drop`);
}

const [OPEN, HALF, LAST, SILENT, REQUEST, FAST, FULL, SHARED] = [7100, 7101, 7102, 7103, 7104, 7105, 7106, 7107];

/** Brings connections into the states that both sides reach without packet loss. */
async function establish(family: string, address: string): Promise<void> {
  for (const port of [OPEN, HALF, LAST, REQUEST])
    await server.call('listen', { name: `${family}${port}`, address, port });
  await server.call('listen', { name: `${family}fast`, address, port: FAST, fastopen: 16 });
  await server.call('listen', { name: `${family}full`, address, port: FULL, backlog: 2 });
  await server.call('listen', { name: `${family}shared1`, address, port: SHARED, backlog: 10 });
  await server.call('listen', { name: `${family}shared2`, address, port: SHARED, backlog: 20 });
  const names = {
    [OPEN]: ['unread', 'filled', 'idle', 'half', 'gone', 'waits'],
    [HALF]: ['first', 'closing'],
    [LAST]: ['last'],
  };
  for (const [port, list] of Object.entries(names)) {
    for (const name of list) {
      await client.call('connect', { name: family + name, address, port: Number(port) });
      await server.call('accept', { name: family + name, listener: family + port });
    }
  }
  await client.call('connect', { name: `${family}full`, address, port: FULL, count: 3 });
  await client.call('connect', { name: `${family}shared`, address, port: SHARED, count: 4 });
  await client.call('send', { name: `${family}unread`, bytes: 5000 });
  await client.call('fill', { name: `${family}filled` });
  await client.call('shutdown', { name: `${family}half` });
  await client.call('close', { name: `${family}gone` });
  await client.call('shutdown', { name: `${family}last` });
  await client.call('close', { name: `${family}waits` });
  await server.call('close', { name: `${family}waits` });
}

/** Brings connections into the states that are reached only if one side's segments are lost. */
async function lose(family: string, address: string): Promise<void> {
  await client.call('shutdown', { name: `${family}first` });
  await server.call('shutdown', { name: `${family}closing` });
  await client.call('shutdown', { name: `${family}closing` });
  await server.call('shutdown', { name: `${family}last` });
  await client.call('connect', { name: `${family}silent`, address, port: SILENT, count: 2, wait: false });
  await client.call('connect', { name: `${family}request`, address, port: REQUEST, wait: false });
  await client.call('connect_fast', { name: `${family}fast`, address, port: FAST, bytes: 100 });
}

/** Expected number of sockets of each IP version, by state. */
const CLIENT = { established: 10, syn_sent: 4, fin_wait1: 2, fin_wait2: 2, time_wait: 2 };
const SERVER = { established: 10, syn_recv: 2, close_wait: 3, last_ack: 1, closing: 1, listen: 8 };

beforeAll(async () => {
  const pair = resources.use(await HostPair.create());
  const [a, b] = [pair.a.netns, pair.b.netns];
  client = resources.use(new TcpHost(a));
  server = resources.use(new TcpHost(b));
  a.exec('sysctl -qw net.ipv4.tcp_fastopen=5');
  b.exec('sysctl -qw net.ipv4.tcp_fastopen=514');
  const addresses = Object.entries(pair.addressB);
  for (const [family, address] of addresses) await establish(family, address);
  drop(a, `sport { ${HALF}, ${REQUEST}, ${FAST} }`);
  drop(b, `dport { ${LAST}, ${SILENT} }`);
  for (const [family, address] of addresses) await lose(family, address);
  const twice = (numbers: object) =>
    Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, 2 * value]));
  await eventually(() => {
    expect(ss(client).connections).toEqual({ ...nothing().connections, ...twice(CLIENT) });
    expect(ss(server).connections).toEqual({ ...nothing().connections, ...twice(SERVER) });
  });
});

afterAll(() => resources.disposeAsync());

describe.each(['pass', 'netlink'])('sockets in every state, by %s', (reader) => {
  let agent: TestKernel;
  let none: string;

  beforeAll(async () => {
    none = mkdtempSync(join(tmpdir(), 'netsonde-'));
    agent = await TestKernel.open(
      only({ tcpsummary: true }, { detail: 'full' }),
      reader === 'pass' ? {} : { objects: none },
    );
  });

  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    rmdirSync(none);
  });

  it('equal ss on both sides', async () => {
    const { oracle, ours } = await readBoth(
      () => [ss(client), ss(server)],
      () => agent.page(),
    );
    const rows = [shown(ours, client), shown(ours, server)];
    expect(rows.map(({ requests: _, ...row }) => row)).toEqual(oracle);
    expect(rows.map(({ requests }) => requests)).toEqual([0, 2]);
    const [ofClient, ofServer] = oracle;
    expect(ofServer?.receiveQueue).toBeGreaterThan(10_000);
    expect(ofServer?.largestReceiveQueue).toBeLessThan((ofServer?.receiveQueue ?? 0) - 5_000);
    expect(ofClient?.largestSendQueue).toBeGreaterThan(0);
    expect(ofServer?.acceptQueues).toMatchObject({
      [FULL]: { length: 6, limit: 4 },
      [SHARED]: { length: 8, limit: 60 },
    });
    expect(ofClient?.acceptQueues).toEqual({});
    const status = agent.kernel.probes().find(({ name }) => name === 'tcpsummary');
    expect(status).toMatchObject({ state: reader === 'pass' ? 'running' : 'degraded', reader });
    expect(status?.reason).toMatch(reader === 'pass' ? /^$/ : /was not built/);
    expect(agent.kernel.probes().find(({ name }) => name === 'tcpsummary')).toMatchObject({
      state: reader === 'pass' ? 'running' : 'degraded',
      reader,
    });
  });
});
