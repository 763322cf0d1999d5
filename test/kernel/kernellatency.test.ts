import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { eventually } from '../support/oracle.ts';

const RECEIVE = 'netsonde_kernel_receive_delay_seconds';
const SEND = 'netsonde_kernel_send_delay_seconds';
const config = (options: object) => only({ kernellatency: { enabled: true, ...options } });
const PORT = 7400;

const resources = new AsyncDisposableStack();
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  await pair.b.udpReceive({ address: '::', port: PORT });
  await pair.b.tcpServe({ address: '::', port: PORT });
  agent = resources.use(await TestKernel.open(config({ threshold: '1s' })));
});

afterAll(() => resources.disposeAsync());

beforeEach(() => {
  agent.events.length = 0;
});

type Sums = Record<'a received' | 'b received' | 'a sent' | 'b sent', PageHistogram>;

async function histograms(): Promise<Sums> {
  const page = await agent.page();
  const one = (name: string, stage: string, { netns }: { netns: { name: string } }) =>
    histogramOf(page, name, { pod: netns.name, stage });
  return {
    'a received': one(RECEIVE, 'delivery', pair.a),
    'b received': one(RECEIVE, 'delivery', pair.b),
    'a sent': one(SEND, 'device', pair.a),
    'b sent': one(SEND, 'device', pair.b),
  };
}

/** Returns the increase of the counts while `happen` runs. */
async function during(happen: () => Promise<unknown>): Promise<Sums> {
  const before = await histograms();
  await happen();
  const after = await histograms();
  const keys = Object.keys(before) as (keyof Sums)[];
  return Object.fromEntries(keys.map((key) => [key, grown(before[key], after[key])])) as unknown as Sums;
}

function counts(sums: Sums): Record<string, number> {
  return Object.fromEntries(Object.entries(sums).map(([key, { count }]) => [key, count]));
}

/**
 * Retries an attempt. The kernel sends its own packets in a new namespace, such as router solicitations, which change
 * the counts.
 */
async function retry(attempt: () => Promise<void>): Promise<void> {
  for (let left = 8; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

function eventsOf(type: string): EventRecord[] {
  return agent.events.filter((event) => event.type === type && event.dst?.endsWith(`:${PORT}`));
}

it('is degraded if no function can be hooked, and reports what it cannot see', () => {
  const status = agent.kernel.probes().find(({ name }) => name === 'kernellatency');
  expect(status?.state).toBe('degraded');
  expect(status?.reason).toContain('packets received: functions of the IP layer cannot be hooked');
  expect(status?.reason).toContain('packets sent: functions of the IP layer cannot be hooked');
});

describe.each([
  ['IPv4', () => pair.addressA.ipv4, () => pair.addressB.ipv4, (ip: string) => ip, 28],
  ['IPv6', () => pair.addressA.ipv6, () => pair.addressB.ipv6, (ip: string) => `[${ip}]`, 48],
] as const)('%s', (_, from, to, bracket, headers) => {
  it('counts each datagram where it is sent and where it is received, and nowhere else', () =>
    retry(async () => {
      const sums = await during(() => pair.a.udpSend({ address: to(), port: PORT, count: 100, bytes: 100 }));
      expect(counts(sums)).toEqual({ 'a received': 0, 'b received': 100, 'a sent': 100, 'b sent': 0 });
      for (const sum of [sums['a sent'], sums['b received']]) {
        expect(sum.sum).toBeGreaterThan(0);
        expect(Math.max(...filled(sum))).toBeLessThan(60);
      }
    }));

  it('counts the segments that TCP has for its sockets', async () => {
    // Each side replies to each message. Pure acknowledgements are sent but wake no reader, so more packets may be sent
    // than read.
    const sums = await during(() => pair.a.tcpExchange({ address: to(), port: PORT, count: 50, bytes: 1_000 }));
    expect(sums['a sent'].count).toBeGreaterThanOrEqual(50);
    expect(sums['b sent'].count).toBeGreaterThanOrEqual(50);
    expect(sums['a received'].count).toBeGreaterThan(25);
    expect(sums['b received'].count).toBeGreaterThan(25);
    expect(sums['a received'].count).toBeLessThanOrEqual(sums['b sent'].count);
    expect(sums['b received'].count).toBeLessThanOrEqual(sums['a sent'].count);
  });

  it('reports packets over the threshold, with their tuple and stage', async () => {
    await agent.kernel.configure(probesOf(config({ threshold: '1us' })));
    const source = await pair.a.udpSend({ address: to(), port: PORT, count: 20, bytes: 100 });
    for (const [type, host, stage, length] of [
      ['kernel_receive_slow', pair.b, 'deliverySeconds', 100 + headers],
      // The length of a packet in a device queue includes the Ethernet header.
      ['kernel_send_slow', pair.a, 'deviceSeconds', 100 + headers + 14],
    ] as const) {
      const [event] = await eventually(() => {
        const found = eventsOf(type).filter(({ src }) => src?.endsWith(`:${source}`));
        expect(found.length).toBeGreaterThan(0);
        return found;
      });
      expect(event).toMatchObject({
        probe: 'kernellatency',
        severity: 'warning',
        pod: host.netns.name,
        netns: String(host.netns.cookie),
        src: `${bracket(from())}:${source}`,
        dst: `${bracket(to())}:${PORT}`,
        protocol: 'udp',
        length,
      });
      expect(Number(event?.['delaySeconds'])).toBeGreaterThan(1e-6);
      expect(event?.[stage]).toBe(event?.['delaySeconds']);
    }
    await agent.kernel.configure(probesOf(config({ threshold: '1s' })));
  });
});

/**
 * The kernel may reuse the address of a dropped packet for a new packet. This test drops packets from a full queue, and
 * from a queue that is removed.
 */
it('mistakes no packet for a dropped one', async () => {
  pair.a.netns.tc(`qdisc add dev ${pair.deviceA} root tbf rate 64kbit burst 1600 limit 3000`);
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 400, bytes: 1_472 });
  pair.a.netns.tc(`qdisc del dev ${pair.deviceA} root`);
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT + 1, count: 400, bytes: 1_472 });
  // A packet that was mistaken for a dropped one would have a delay of at least two seconds.
  await wait(2_000);
  const sums = await during(() =>
    pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 500, bytes: 1_472 }),
  );
  expect(sums['a sent'].count).toBeGreaterThanOrEqual(500);
  for (const sum of Object.values(sums)) expect(Math.max(0, ...filled(sum))).toBeLessThan(2);
});

it('continues its counts when it is switched off and on again', async () => {
  const before = await histograms();
  await agent.kernel.configure(probesOf(only({})));
  expect((await histograms())['a sent'].count).toBe(0);
  await agent.kernel.configure(probesOf(config({ events: false })));
  expect((await histograms())['a sent'].count).toBeGreaterThanOrEqual(before['a sent'].count);
  const sums = await during(() => pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 10, bytes: 10 }));
  expect(sums['a sent'].count).toBeGreaterThanOrEqual(10);
});
