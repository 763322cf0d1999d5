import { expect } from 'vitest';
import type { MetricDescriptor } from '#probe/metric.ts';
import { type Exposition, sampleValue } from './exposition.ts';
import { type Host, HostPair } from './hosts.ts';
import { TestKernel } from './kernel.ts';
import { readBoth } from './oracle.ts';

/**
 * Causes traffic that increases every counter: over IPv4 and IPv6, in both directions, with refused connections, full
 * buffers and a queue that drops packets.
 */
export async function makeTraffic({ a, b, addressB, deviceA }: HostPair): Promise<void> {
  a.netns.tc(`qdisc add dev ${deviceA} root tbf rate 2mbit burst 3000 limit 6000`);
  for (const address of [addressB.ipv4, addressB.ipv6]) {
    const port = address.includes(':') ? 6001 : 6000;
    await b.tcpServe({ address, port });
    await a.tcpExchange({ address, port, count: 3, bytes: 20_000 });
    await a.tcpHold({ address, port, count: 2 });
    expect(await a.tcpTry({ address, port: 6009, timeoutMs: 30_000 })).toBe('ECONNREFUSED');
    await b.udpReceive({ address, port });
    await a.udpSend({ address, port, count: 7, bytes: 100 });
    await a.udpSend({ address, port: 6008, count: 3, bytes: 10 });
    // The datagram is larger than the MTU, so it is fragmented.
    await a.udpSend({ address, port, count: 2, bytes: 4_000 });
    // This burst exceeds the queue's limit, so some packets are dropped.
    await a.udpSend({ address, port, count: 20, bytes: 1_200 });
  }
}

/** Two connected namespaces with traffic between them, and an agent that counts it. */
export class CountedPair implements AsyncDisposable {
  readonly pair: HostPair;
  readonly agent: TestKernel;

  private constructor(pair: HostPair, agent: TestKernel) {
    this.pair = pair;
    this.agent = agent;
  }

  static async create(config: string, traffic: (pair: HostPair) => Promise<void> = makeTraffic): Promise<CountedPair> {
    await using cleanup = new AsyncDisposableStack();
    const pair = cleanup.use(await HostPair.create());
    await traffic(pair);
    const agent = cleanup.use(await TestKernel.open(config));
    cleanup.move();
    return new CountedPair(pair, agent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.pair[Symbol.asyncDispose]();
  }
}

/** Returns the absolute counters of `nstat -az`. */
function nstat({ netns }: Host): Map<string, number> {
  const rows = netns
    .exec('nstat -az')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  return new Map(rows.filter((row) => row.length >= 2).map(([name = '', value]) => [name, Number(value)]));
}

export function ofPod(
  page: Exposition,
  host: Host,
  metric: string,
  labels: Record<string, string> = {},
): number | undefined {
  return sampleValue(page, metric, { namespace: '', pod: host.netns.name, ...labels });
}

/**
 * Returns the nstat names of a metric by IP version. For a metric that does not depend on the IP version, the name is
 * in `ipv4`.
 */
function nstatNames({ mib, mib6 }: MetricDescriptor): { ipv4?: string; ipv6?: string } {
  return {
    ...(mib === undefined ? {} : { ipv4: `${mib[0]}${mib[1]}` }),
    ...(mib6 === undefined ? {} : { ipv6: `${mib6[0]}${mib6[1]}` }),
  };
}

/**
 * Reads nstat and the page at the same moment, and checks that both show the same values of these metrics for IPv4 and
 * IPv6. Returns both readings for additional checks.
 */
export async function expectNstat(
  { agent }: CountedPair,
  host: Host,
  metrics: readonly MetricDescriptor[],
): Promise<{ expected: ReadonlyMap<string, number>; page: Exposition }> {
  const { oracle, ours: page } = await readBoth(
    () => [...nstat(host)],
    () => agent.page(),
  );
  const expected = new Map(oracle);
  for (const metric of metrics) {
    for (const [family, name] of Object.entries(nstatNames(metric))) {
      const labels = 'family' in metric.labels ? { family } : {};
      expect(ofPod(page, host, metric.name, labels), `${metric.name} ${family}`).toBe(expected.get(name) ?? Number.NaN);
    }
  }
  return { expected, page };
}
