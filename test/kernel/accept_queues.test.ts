import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair, startPython, type TestNetns } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { TcpHost } from '../support/tcp_host.ts';

const [NOBODY, SHARED, BUSY] = [7200, 7201, 7202];
const LISTENERS = 8;
const BACKLOG = 4;

/** Eight sockets listen on one port. The first one never calls accept(); the other seven do. */
const ONE_HANGS = `
import socket, threading
def serve(listener):
    kept = []
    while True: kept.append(listener.accept()[0])
for nth in range(${LISTENERS}):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("::", ${SHARED}))
    listener.listen(${BACKLOG})
    if nth > 0: threading.Thread(target=serve, args=(listener,)).start()
    else: hangs = listener
print("ready")
threading.Event().wait()
`;

const resources = new AsyncDisposableStack();
/** One agent for each way of reading the sockets, by the name of the reader. */
const agents = new Map<string, TestKernel>();
let server: TestNetns;

/** Returns the sum of the ListenDrops counter over all listening sockets of the namespace. */
function listenDrops(): number {
  const drops = /TcpExtListenDrops\s+(\d+)/.exec(server.exec('nstat -asz TcpExtListenDrops'))?.[1];
  return Number(drops);
}

beforeAll(async () => {
  const pair = resources.use(await HostPair.create());
  server = pair.b.netns;
  const host = resources.use(new TcpHost(server));
  resources.use(await startPython(server, ONE_HANGS));
  const none = mkdtempSync(join(tmpdir(), 'netsonde-'));
  resources.defer(() => rmdirSync(none));
  for (const reader of ['pass', 'netlink']) {
    const options = { probes: [tcpsummary], ...(reader === 'pass' ? {} : { objects: none }) };
    agents.set(reader, resources.use(await TestKernel.open('{}', options)));
  }
  const address = pair.addressB.ipv4;
  await host.call('listen', { name: 'nobody', address, port: NOBODY, backlog: 1 });
  await host.call('listen', { name: 'busy', address, port: BUSY, backlog: 64 });
  await using client = new TcpHost(pair.a.netns);
  await client.call('connect', { name: 'busy', address, port: BUSY, count: 60 });
  for (const [name, port, count] of [
    ['nobody', NOBODY, 10],
    ['shared', SHARED, 160],
  ] as const) {
    await client.call('connect', { name, address, port, count, wait: false });
  }
  // No SYN is retransmitted once the client has exited, so the counters no longer change.
  await eventually(() => expect(listenDrops()).toBeGreaterThan(8));
});

afterAll(() => resources.disposeAsync());

describe.each(['pass', 'netlink'])('accept queues, by %s', (reader) => {
  const agent = () => agents.get(reader) as TestKernel;
  const told = () => agent().events.filter(({ pod }) => pod === server.name);
  const of = (port: number): readonly EventRecord[] => told().filter((event) => event['port'] === port);

  it('that overflow become events with their port and the kernel’s count of refusals; a busy one does not', async () => {
    await eventually(() => {
      expect(told().reduce((sum, { refused }) => sum + Number(refused), 0)).toBe(listenDrops());
      expect(of(NOBODY).length).toBeGreaterThan(0);
      expect(of(SHARED).length).toBeGreaterThan(0);
    });
    expect(of(NOBODY)[0]).toMatchObject({
      probe: 'tcpsummary',
      type: 'accept_queue_full',
      severity: 'warning',
      protocol: 'tcp',
      length: 2,
      limit: 1,
    });
    // Each collection sends one event for all sockets of the port. The event describes the queue of the socket that
    // never calls accept().
    for (const event of of(SHARED)) {
      expect(event).toMatchObject({ address: '::', length: BACKLOG + 1, limit: BACKLOG });
      expect(event['sockets']).toBeLessThanOrEqual(LISTENERS);
    }
    expect(of(SHARED)[0]?.message).toMatch(
      /^The accept queue of \[::\]:7201 was full: in the last \d+ s, \d+ segments/,
    );
    expect(of(BUSY)).toEqual([]);
  });

  it('show the fullest of the sockets that share a port, which their sum hides', async () => {
    const page = await agent().page();
    const value = (name: string, port: number) =>
      sampleValue(page, `netsonde_tcp_accept_queue_${name}`, { pod: server.name, port: String(port) });
    expect(value('fullest_ratio', SHARED)).toBe(1);
    expect(value('length', SHARED)).toBe(BACKLOG + 1);
    expect(value('limit', SHARED)).toBe(LISTENERS * BACKLOG);
    expect(value('fullest_ratio', NOBODY)).toBe(1);
    expect(value('fullest_ratio', BUSY)).toBeCloseTo(60 / 65);
  });

  it('account for their events', () => {
    const status = agent()
      .kernel.probes()
      .find(({ name }) => name === 'tcpsummary');
    expect(status).toMatchObject({ state: reader === 'pass' ? 'running' : 'degraded', reader });
    expect(agent().logs.filter((line) => line.includes('accept'))).toEqual([]);
  });
});
