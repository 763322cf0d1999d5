import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { HostPair } from '../support/hosts.ts';
import { type End, type Joined, joinSockets, told } from '../support/joined_sockets.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { bucketOf, filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { eventually } from '../support/oracle.ts';

const READ = 'netsonde_socket_read_delay_seconds';
const WRITE = 'netsonde_socket_write_delay_seconds';
const ON = only({ socketlatency: { enabled: true, threshold: '90ms' } });
const OFF = only({});

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

function seconds(fromNs: number, toNs: number): number {
  return (toNs - fromNs) / 1e9;
}

/**
 * Checks a measured time. `least` is the time for which the test waited, and `most` is the time that passed for the
 * sending and receiving programs.
 */
function expectBetween(value: number, least: number, most: number): void {
  expect(value).toBeGreaterThanOrEqual(least);
  expect(value).toBeLessThanOrEqual(most);
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
    await agent.kernel.configure(probesOf(OFF));
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
    const measured = seconds(sentNs, await reading);

    const waited = grown(before.b, await histogram(READ));
    expect(waited.count).toBe(1);
    expectBetween(waited.sum, 0.399, measured);
    expect(filled(waited)).toEqual([bucketOf(waited.sum)]);
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
    expectBetween(Number(event?.['delaySeconds']), 0.399, measured);
    expect(event?.message).toMatch(/^python3 \(pid \d+\) read data .*after [\d.]+ m?s\.$/);
  });

  it('starts with the first unread data, and ends when it is read; a peek does not count', async () => {
    await using joined = await join(protocol, to, bind);
    const { receiver, sender } = joined;
    const before = await histogram(READ);
    const sentNs = await told(sender, "s.send(b'one')");
    await wait(100);
    // More data arrives before the first data is read. The measurement must not restart.
    const secondNs = await told(sender, "s.send(b'two')");
    await told(receiver, 's.recv(100, socket.MSG_PEEK)');
    await wait(200);
    const readNs = await told(receiver, protocol === 'tcp' ? 's.recv(100)' : 's.recv(100); s.recv(100)');
    const waited = grown(before, await histogram(READ));
    const [first, second] = [seconds(sentNs, readNs), seconds(secondNs, readNs)];
    expect(waited.count).toBe(protocol === 'tcp' ? 1 : 2);
    if (protocol === 'tcp') expectBetween(waited.sum, 0.299, first);
    else expectBetween(waited.sum, 0.299 + 0.199, first + second);
    // The socket's buffer is empty now, so a waiting reader gets new data at once.
    const later = await histogram(READ);
    const reading = told(receiver, 's.recv(100)');
    const thirdNs = await told(sender, "s.send(b'three')");
    const quickNs = await reading;
    const quick = grown(later, await histogram(READ));
    expect(quick.count).toBe(1);
    expect(quick.sum).toBeLessThanOrEqual(seconds(thirdNs, quickNs));
  });
});

it('counts each part that is read separately', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  const before = await histogram(READ);
  const sentNs = await told(sender, "s.send(b'x' * 100)");
  await wait(100);
  const first = seconds(sentNs, await told(receiver, 's.recv(40)'));
  await wait(100);
  const second = seconds(sentNs, await told(receiver, 's.recv(60)'));
  const waited = grown(before, await histogram(READ));
  expect(waited.count).toBe(2);
  expectBetween(waited.sum, 0.099 + 0.199, first + second);
});

it('does not count data that the kernel has read for a process', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  await told(sender, "s.send(b'x' * 100)");
  await told(receiver, 'r, w = os.pipe(); os.splice(s.fileno(), w, 100)');
  await wait(300);
  const before = await histogram(READ);
  const reading = told(receiver, 's.recv(100)');
  const sentNs = await told(sender, "s.send(b'y' * 100)");
  const readNs = await reading;
  expect(grown(before, await histogram(READ)).sum).toBeLessThanOrEqual(seconds(sentNs, readNs));
  expect(agent.events.filter(({ dst }) => dst?.endsWith(`:${joined.port}`))).toEqual([]);
});

describe.each([
  ['IPv4', ipv4, '10.9.0.1', '10.9.0.2'],
  ['IPv6', ipv6, '[fd09::1]', '[fd09::2]'],
] as const)('data written over %s', (_, to, src, dst) => {
  it('is measured until it is sent', async () => {
    await using joined = await join('tcp', to);
    const { receiver, sender } = joined;
    const before = { a: await histogram(WRITE, pair.a), b: await histogram(WRITE) };
    // With TCP_CORK, the kernel holds back data that does not fill a packet until the cork is removed.
    const writtenNs = await told(sender, "s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1); s.send(b'x' * 50)");
    await wait(130);
    await told(sender, 's.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)');
    const measured = seconds(writtenNs, await told(receiver, 's.recv(100)'));
    const waited = grown(before.a, await histogram(WRITE, pair.a));
    expect(waited.count).toBe(1);
    expectBetween(waited.sum, 0.129, measured);
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
    expectBetween(Number(events[0]?.['delaySeconds']), 0.129, measured);
    expect(events[0]?.message).toMatch(/^Data that python3 \(pid \d+\) wrote .* was sent after [\d.]+ m?s\.$/);
  });

  it('waits for a receiver that does not read', async () => {
    await using joined = await join('tcp', to, to, 4_096);
    const { receiver, sender } = joined;
    const before = await histogram(WRITE, pair.a);
    const writtenNs = await told(sender, "s.send(b'x' * 40000)");
    await wait(400);
    const drained = seconds(writtenNs, await told(receiver, 'drain()'));
    const waited = grown(before, await histogram(WRITE, pair.a));
    // The second part of the write was sent in several packets once the buffer had space again.
    expectBetween(filled(waited).at(-1) ?? 0, bucketOf(0.399), bucketOf(drained));
    const events = await slowOnes('socket_write_slow', joined);
    for (const event of events)
      expect(event).toMatchObject({ pod: pair.a.netns.name, process: 'python3', pid: sender.pid });
    expect(Number(events[0]?.['queueBytes'])).toBeGreaterThan(10_000);
  });
});

it('measures a write that is sent at once as a short one', async () => {
  await using joined = await join('tcp', ipv4);
  const { receiver, sender } = joined;
  const before = await histogram(WRITE, pair.a);
  let measured = 0;
  for (let index = 0; index < 20; index++) {
    const reading = told(receiver, 's.recv(100)');
    const writtenNs = await told(sender, "s.send(b'x' * 50)");
    measured += seconds(writtenNs, await reading);
  }
  const waited = grown(before, await histogram(WRITE, pair.a));
  expect(waited.count).toBe(20);
  expect(waited.sum).toBeLessThanOrEqual(measured);
});

it('continues its counts when it is switched off and on again', async () => {
  const before = await histogram(READ);
  await agent.kernel.configure(probesOf(OFF));
  expect((await histogram(READ)).count).toBe(0);
  await agent.kernel.configure(probesOf(only({ socketlatency: { enabled: true, events: false } })));
  expect(await histogram(READ)).toEqual(before);
});
