import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { BY_TIMER, eventually, retry } from '../support/oracle.ts';
import { bucketDelays, sendAtOnce, shape, TOKEN_BUCKET } from '../support/shaper.ts';

const QDISC = 'netsonde_qdisc_delay_seconds';
const DRIVER = 'netsonde_driver_transmit_seconds';
const config = (options: object) => only({ netiftxlatency: { enabled: true, ...options } });
const PORT = 7200;

const resources = new AsyncDisposableStack();
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  await pair.b.udpReceive({ address: '::', port: PORT });
  await pair.b.tcpServe({ address: '::', port: PORT });
  agent = resources.use(await TestKernel.open(config({ threshold: '52ms' })));
});

afterAll(() => resources.disposeAsync());

beforeEach(() => {
  agent.events.length = 0;
});

async function histogram(name: string, host = pair.a): Promise<PageHistogram> {
  return histogramOf(await agent.page(), name, { pod: host.netns.name });
}

async function untracked(): Promise<number> {
  const labels = { probe: 'netiftxlatency', cause: 'untracked' };
  return sampleValue(await agent.page(), 'netsonde_probe_uncounted_total', labels) ?? 0;
}

function slowOnes(type: string): EventRecord[] {
  return agent.events.filter((event) => event.type === type && event.dst?.endsWith(`:${PORT}`));
}

describe.each([
  ['IPv4', () => pair.addressA.ipv4, () => pair.addressB.ipv4, (ip: string) => ip, 1042],
  ['IPv6', () => pair.addressA.ipv6, () => pair.addressB.ipv6, (ip: string) => `[${ip}]`, 1062],
] as const)('%s', (_, from, to, bracket, length) => {
  it('measures the wait of packets in a token bucket', async () => {
    const count = 10;
    const expected = bucketDelays(new Array(count).fill(0), length);
    const sum = expected.reduce((total, delay) => total + delay, 0);
    const source = await retry(async () => {
      agent.events.length = 0;
      using _shaper = shape(pair, TOKEN_BUCKET);
      const before = { a: await histogram(QDISC), b: await histogram(QDISC, pair.b) };
      const { source: port } = sendAtOnce(pair.a.netns, to(), PORT, count);
      const waited = await eventually(async () => {
        const found = grown(before.a, await histogram(QDISC));
        expect(found.count).toBeGreaterThanOrEqual(count);
        return found;
      });
      expect(waited.count).toBe(count);
      expect(waited.sum).toBeGreaterThan(sum * 0.95);
      expect(waited.sum).toBeLessThan(sum * 1.05);
      expect(filled(waited).at(-1)).toBe(0.131072);
      expect(grown(before.b, await histogram(QDISC, pair.b)).sum).toBeLessThan(0.01);
      return port;
    });

    // The threshold is halfway between two of the delays, so jitter on a busy machine moves no delay across it.
    const slow = expected.filter((delay) => delay > 0.052);
    const events = await eventually(() => {
      const found = slowOnes('qdisc_slow').filter(({ src }) => src?.endsWith(`:${source}`));
      expect(found).toHaveLength(slow.length);
      return found;
    });
    for (const [index, event] of events.entries()) {
      expect(event).toMatchObject({
        probe: 'netiftxlatency',
        severity: 'warning',
        pod: pair.a.netns.name,
        netns: String(pair.a.netns.cookie),
        src: `${bracket(from())}:${source}`,
        dst: `${bracket(to())}:${PORT}`,
        protocol: 'udp',
        device: pair.deviceA,
        qdisc: 'tbf',
        length,
      });
      const delay = slow[index] ?? 0;
      expect(Math.abs(Number(event['delaySeconds']) - delay)).toBeLessThan(delay * 0.05);
      expect(event.message).toContain(`in the queue (tbf) of ${pair.deviceA}`);
    }
    // Events of the test before may still arrive.
    expect(slowOnes('driver_transmit_slow').filter(({ src }) => src?.endsWith(`:${source}`))).toEqual([]);
  });

  it('reports a slow driver', async () => {
    await agent.kernel.configure(probesOf(config({ threshold: '1us' })));
    const source = await pair.a.udpSend({ address: to(), port: PORT, count: 20, bytes: 1_000 });
    const [event] = await eventually(() => {
      expect(slowOnes('driver_transmit_slow').length).toBeGreaterThan(0);
      return slowOnes('driver_transmit_slow');
    });
    expect(event).toMatchObject({
      pod: pair.a.netns.name,
      src: `${bracket(from())}:${source}`,
      dst: `${bracket(to())}:${PORT}`,
      protocol: 'udp',
      device: pair.deviceA,
      length,
    });
    expect(event?.['delaySeconds']).toBeGreaterThan(1e-6);
    expect(event?.message).toContain(`was accepted by the driver of ${pair.deviceA} after`);
    await agent.kernel.configure(probesOf(config({ threshold: '52ms' })));
  });
});

it(
  'mistakes no packet for one that was dropped while it waited, nor for one that was cut into segments',
  BY_TIMER,
  async () => {
    {
      using _shaper = shape(pair, 'tbf rate 64kbit burst 1600 limit 3000');
      // The datagrams are as long as the segments below, because the probe also compares lengths.
      await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 400, bytes: 1_472 });
      const [tbf] = JSON.parse(pair.a.netns.tc(`-s -j qdisc show dev ${pair.deviceA}`)) as { drops: number }[];
      expect(tbf?.drops).toBeGreaterThan(150);
      // Removing the queue drops the packets that are left in it.
    }
    // A packet that was mistaken for a dropped one would have a delay of at least two seconds.
    await wait(2_000);
    const before = { a: await histogram(QDISC), driver: await histogram(DRIVER), untracked: await untracked() };
    agent.events.length = 0;
    {
      // The burst is smaller than TCP's GSO packets, so the queue segments them.
      using _shaper = shape(pair, 'tbf rate 200mbit burst 5000 limit 10000000');
      await pair.a.tcpExchange({ address: pair.addressB.ipv4, port: PORT, count: 3, bytes: 400_000 });
    }
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 500, bytes: 1_000 });
    const waited = grown(before.a, await histogram(QDISC));
    const sent = grown(before.driver, await histogram(DRIVER));
    expect(waited.count).toBeGreaterThan(500);
    expect(Math.max(...filled(waited))).toBeLessThan(2);
    expect(slowOnes('qdisc_slow').filter(({ delaySeconds }) => Number(delaySeconds) > 2)).toEqual([]);
    expect(sent.count - waited.count).toBeGreaterThan(100);
    // Other namespaces on this machine also send packets.
    expect((await untracked()) - before.untracked).toBeGreaterThanOrEqual(sent.count - waited.count);
  },
);

it('leaves out loopback', async () => {
  await pair.a.tcpServe({ address: '127.0.0.1', port: PORT });
  const before = await histogram(DRIVER);
  await pair.a.tcpExchange({ address: '127.0.0.1', port: PORT, count: 20, bytes: 1_000 });
  expect(grown(before, await histogram(DRIVER)).count).toBeLessThan(5);
});

it('continues its counts when it is switched off and on again', async () => {
  const before = await histogram(QDISC);
  await agent.kernel.configure(probesOf(only({})));
  expect((await histogram(QDISC)).count).toBe(0);
  await agent.kernel.configure(probesOf(config({ events: false })));
  const after = await histogram(QDISC);
  expect(after.count).toBeGreaterThanOrEqual(before.count);
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 10, bytes: 10 });
  expect((await histogram(QDISC)).count).toBeGreaterThanOrEqual(after.count + 10);
});
