import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { HostPair } from '../support/hosts.ts';
import { type End, type Joined, joinSockets, told } from '../support/joined_sockets.ts';
import { probesOf, TestKernel } from '../support/kernel.ts';
import { filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { eventually } from '../support/oracle.ts';

const READ = 'netsonde_socket_read_delay_seconds';
const WRITE = 'netsonde_socket_write_delay_seconds';
const ON = '{ probes: { socketlatency: { enabled: true, threshold: 90ms } } }';

const resources = new AsyncDisposableStack();
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  agent = resources.use(await TestKernel.open(ON));
});

afterAll(() => resources.disposeAsync());

beforeEach(() => {
  agent.events.length = 0;
});

async function histogram(name: string, host = pair.b): Promise<PageHistogram> {
  return histogramOf(await agent.page(), name, { pod: host.netns.name });
}

function slowOnes(type: string, { port }: Joined): Promise<EventRecord[]> {
  return eventually(() => {
    const found = agent.events.filter((event) => event.type === type && event.dst?.endsWith(`:${port}`));
    expect(found.length).toBeGreaterThan(0);
    return found;
  });
}

function expectNear(value: number, measured: number): void {
  expect(Math.abs(value - measured)).toBeLessThan(measured * 0.05);
}

const ipv4 = { family: 'AF_INET', address: '10.9.0.2' } as const;
const ipv6 = { family: 'AF_INET6', address: 'fd09::2' } as const;
const both = { family: 'AF_INET6', address: '::' } as const;

function join(protocol: 'tcp' | 'udp', to: End, bind = to, receiveBuffer = 0): Promise<Joined> {
  return joinSockets(pair, protocol, to, bind, receiveBuffer);
}

describe.each([
  ['TCP over IPv4', 'tcp', ipv4, ipv4, '10.9.0.1', '10.9.0.2'],
  ['TCP over IPv4 to a socket for both families', 'tcp', ipv4, both, '10.9.0.1', '10.9.0.2'],
  ['TCP over IPv6', 'tcp', ipv6, ipv6, '[fd09::1]', '[fd09::2]'],
  ['UDP over IPv4', 'udp', ipv4, ipv4, undefined, '10.9.0.2'],
  ['UDP over IPv6', 'udp', ipv6, ipv6, undefined, '[fd09::2]'],
] as const)('%s', (_, protocol, to, bind, from, dst) => {
  it('measures a reader that is stopped, on a socket that was there before', async () => {
    await agent.kernel.configure(probesOf('{}'));
    await using joined = await join(protocol, to, bind);
    const { receiver, sender } = joined;
    await told(sender, "s.send(b'first')");
    await told(receiver, 's.recv(100)');
    await agent.kernel.configure(probesOf(ON));

    const before = { a: await histogram(READ, pair.a), b: await histogram(READ) };
    const reading = told(receiver, 's.recv(100)');
    await receiver.stop();
    const sentNs = await told(sender, "s.send(b'x' * 70)");
    await wait(400);
    receiver.signal('SIGCONT');
    const measured = ((await reading) - sentNs) / 1e9;
    expect(measured).toBeGreaterThan(0.39);

    const waited = grown(before.b, await histogram(READ));
    expect(waited.count).toBe(1);
    expectNear(waited.sum, measured);
    expect(filled(waited)).toEqual([0.524288]);
    expect(grown(before.a, await histogram(READ, pair.a)).count).toBe(0);

    const events = await slowOnes('socket_read_slow', joined);
    expect(events).toHaveLength(1);
    const [event] = events;
    expect(event).toMatchObject({
      probe: 'socketlatency',
      severity: 'warning',
      namespace: '',
      pod: pair.b.netns.name,
      netns: String(pair.b.netns.cookie),
      dst: `${dst}:${joined.port}`,
      protocol,
      process: 'python3',
      pid: receiver.pid,
      ...(protocol === 'tcp' ? { queueBytes: 70 } : { queueDatagrams: 1 }),
    });
    expect(event?.src).toBe(from === undefined ? undefined : `${from}:${joined.senderPort}`);
    expectNear(Number(event?.['delaySeconds']), measured);
    expect(event?.message).toMatch(/^python3 \(pid \d+\) read what came .*only after 4\d\d ms\.$/);
  });

  it('starts with the first that is unread, and ends with its read: a look is none', async () => {
    await using joined = await join(protocol, to, bind);
    const { receiver, sender } = joined;
    const before = await histogram(READ);
    const sentNs = await told(sender, "s.send(b'one')");
    await wait(100);
    // Comes on top, and must not start the clock anew.
    await told(sender, "s.send(b'two')");
    await told(receiver, 's.recv(100, socket.MSG_PEEK)');
    await wait(200);
    const readNs = await told(receiver, protocol === 'tcp' ? 's.recv(100)' : 's.recv(100); s.recv(100)');
    const waited = grown(before, await histogram(READ));
    const first = (readNs - sentNs) / 1e9;
    expect(first).toBeGreaterThan(0.3);
    expect(waited.count).toBe(protocol === 'tcp' ? 1 : 2);
    expectNear(waited.sum, protocol === 'tcp' ? first : first + (first - 0.1));
    // Nothing is left, so what comes now is read at once.
    const later = await histogram(READ);
    const reading = told(receiver, 's.recv(100)');
    await told(sender, "s.send(b'three')");
    await reading;
    const quick = grown(later, await histogram(READ));
    expect(quick.count).toBe(1);
    expect(quick.sum).toBeLessThan(0.05);
  });
});

it('counts each part that is read by itself', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  const before = await histogram(READ);
  const sentNs = await told(sender, "s.send(b'x' * 100)");
  await wait(100);
  const first = ((await told(receiver, 's.recv(40)')) - sentNs) / 1e9;
  await wait(100);
  const second = ((await told(receiver, 's.recv(60)')) - sentNs) / 1e9;
  const waited = grown(before, await histogram(READ));
  expect(waited.count).toBe(2);
  expectNear(waited.sum, first + second);
});

it('does not count against a process what the kernel has read for it', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  await told(sender, "s.send(b'x' * 100)");
  await told(receiver, 'r, w = os.pipe(); os.splice(s.fileno(), w, 100)');
  await wait(300);
  const before = await histogram(READ);
  const reading = told(receiver, 's.recv(100)');
  await told(sender, "s.send(b'y' * 100)");
  await reading;
  expect(grown(before, await histogram(READ)).sum).toBeLessThan(0.1);
  expect(agent.events.filter(({ dst }) => dst?.endsWith(`:${joined.port}`))).toEqual([]);
});

describe.each([
  ['IPv4', ipv4, '10.9.0.1', '10.9.0.2'],
  ['IPv6', ipv6, '[fd09::1]', '[fd09::2]'],
] as const)('what is written over %s', (_, to, src, dst) => {
  it('is measured until it is sent', async () => {
    await using joined = await join('tcp', to);
    const { receiver, sender } = joined;
    const before = { a: await histogram(WRITE, pair.a), b: await histogram(WRITE) };
    // The kernel holds back what does not fill a packet, here until it is told otherwise.
    const writtenNs = await told(sender, "s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1); s.send(b'x' * 50)");
    await wait(130);
    const sentNs = await told(sender, 's.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)');
    await told(receiver, 's.recv(100)');
    const measured = (sentNs - writtenNs) / 1e9;
    const waited = grown(before.a, await histogram(WRITE, pair.a));
    expect(waited.count).toBe(1);
    expectNear(waited.sum, measured);
    expect(grown(before.b, await histogram(WRITE)).count).toBe(0);
    const events = await slowOnes('socket_write_slow', joined);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      pod: pair.a.netns.name,
      src: `${src}:${joined.senderPort}`,
      dst: `${dst}:${joined.port}`,
      protocol: 'tcp',
      process: 'python3',
      pid: sender.pid,
      queueBytes: 50,
    });
    expectNear(Number(events[0]?.['delaySeconds']), measured);
    expect(events[0]?.message).toMatch(/^What python3 \(pid \d+\) wrote .* was sent only after 1\d\d ms\.$/);
  });

  it('waits for a receiver that does not read', async () => {
    await using joined = await join('tcp', to, to, 4_096);
    const { receiver, sender } = joined;
    const before = await histogram(WRITE, pair.a);
    await told(sender, "s.send(b'x' * 40000)");
    await wait(400);
    await told(receiver, 'drain()');
    const waited = grown(before, await histogram(WRITE, pair.a));
    // The rest of what was written in one go was sent when there was room for it, in some packets.
    expect(waited.buckets.find(({ bound }) => bound === 0.524288)?.count).toBeGreaterThan(0);
    expect(filled(waited).at(-1)).toBeLessThan(2);
    const events = await slowOnes('socket_write_slow', joined);
    for (const event of events)
      expect(event).toMatchObject({ pod: pair.a.netns.name, process: 'python3', pid: sender.pid });
    expect(Number(events[0]?.['queueBytes'])).toBeGreaterThan(10_000);
  });
});

it('measures a write that is sent at once as such', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  const before = await histogram(WRITE, pair.a);
  for (let index = 0; index < 20; index++) {
    const reading = told(receiver, 's.recv(100)');
    await told(sender, "s.send(b'x' * 50)");
    await reading;
  }
  const waited = grown(before, await histogram(WRITE, pair.a));
  expect(waited.count).toBe(20);
  expect(waited.sum).toBeLessThan(0.02);
});

it('goes on from where it was when it is off and on again', async () => {
  const before = await histogram(READ);
  await agent.kernel.configure(probesOf('{}'));
  expect((await histogram(READ)).count).toBe(0);
  await agent.kernel.configure(probesOf('{ probes: { socketlatency: { enabled: true, events: false } } }'));
  expect(await histogram(READ)).toEqual(before);
});
