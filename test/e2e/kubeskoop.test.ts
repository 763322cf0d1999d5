import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBES } from '#probes/index.ts';
import { KUBESKOOP } from '../../dashboards/kubeskoop/names.ts';
import { rulesOf } from '../../dashboards/kubeskoop/rules.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { run } from '../support/command.ts';
import { type Host, HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer, type QueryResult } from '../support/prometheus.ts';

const RULES = fileURLToPath(new URL('../../dashboards/rules/kubeskoop.yaml', import.meta.url));
const NODE = 'test-node';
const TRAFFIC_EVERY_MS = 200;

/** Enables every probe with full detail. */
const CONFIG = JSON.stringify({
  detail: 'full',
  probes: {
    ...Object.fromEntries(PROBES.map(({ name }) => [name, true])),
    netdev: { loopback: true },
  },
});

/**
 * Queries of KubeSkoop's dashboards. Only the range was changed; it was originally one minute. `$of` is replaced by the
 * selector of the node or the Pod.
 */
const rate = (name: string) => `rate(kubeskoop_${name}{$of}[10s])`;

const OF_BOTH = [
  ...['rxbytes', 'txbytes', 'rxerrors', 'txerrors', 'rxpackets', 'txpackets'].map((name) => rate(`netdev_${name}`)),
  ...['established', 'timewait', 'closewait', 'synsent', 'synrecv'].map(
    (state) => `kubeskoop_tcpsummary_tcp${state}conn{$of}`,
  ),
  'kubeskoop_tcpsummary_tcptxqueue{$of}',
  'kubeskoop_tcpsummary_tcprxqueue{$of}',
  ...['tcp_activeopens', 'tcp_passiveopens'].map(rate),
  ...['listendrops', 'listenoverflows', 'tcpsynretrans', 'tcprcvqdrop', 'pfmemallocdrop', 'tcpbacklogdrop'].map(
    (name) => rate(`tcpext_${name}`),
  ),
  ...['rcvbuferrors', 'sndbuferrors', 'noports', 'inerrors'].map((name) => rate(`udp_${name}`)),
];

const SOCKETS = 'kubeskoop_sock_inuse{$of}+kubeskoop_sock_orphan{$of}';

/** Queries for RDMA devices, which this machine does not have. */
const OF_RDMA = [
  ...['rx_bytes', 'tx_bytes', 'rx_packets', 'tx_packets'].map((name) => rate(`rdma_erdma_hw_${name}_cnt`)),
  ...['bps_limit_drop', 'rx_bps_limit_drop'].map((name) => rate(`rdma_erdma_hw_${name}_cnt`)),
  'kubeskoop_rdma_qp{$of}',
  'kubeskoop_rdma_mr{$of}',
];

let directory: string;
let pair: HostPair;
let agent: AgentProcess;
let prometheus: PrometheusServer;
let traffic: Promise<void>;
const stop = new AbortController();

/**
 * Opens connections, and sends datagrams to a closed port and to a port whose datagrams the firewall drops, over IPv4
 * and IPv6.
 */
async function makeTraffic({ a, b, addressB }: HostPair): Promise<void> {
  while (!stop.signal.aborted) {
    for (const address of [addressB.ipv4, addressB.ipv6]) {
      await a.tcpExchange({ address, port: address.includes(':') ? 6001 : 6000, count: 1, bytes: 2_000 });
      await a.udpSend({ address, port: 6008, count: 2, bytes: 50 });
      await a.udpSend({ address, port: 7001, count: 3, bytes: 50 });
    }
    // KubeSkoop ignores the loopback device, so this traffic must not be counted.
    await b.udpSend({ address: '127.0.0.1', port: 6008, count: 1, bytes: 500 });
    await wait(TRAFFIC_EVERY_MS);
  }
}

const ofPod = ({ netns }: Host) => `k8s_namespace="",k8s_pod="${netns.name}"`;
const OF_NODE = `k8s_node="${NODE}",k8s_pod=""`;

function ask(query: string, of: string): Promise<QueryResult[]> {
  return prometheus.query(query.replaceAll('$of', of));
}

/** Returns the only series of a query. Retries, because a rate needs two evaluations of the rules. */
async function askOne(query: string, of: string): Promise<QueryResult> {
  return eventually(async () => {
    const [result, ...more] = await ask(query, of);
    if (result === undefined || more.length > 0) throw new Error(`${query} of ${of}: not one series`);
    return result;
  });
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kubeskoop-'));
  const config = join(directory, 'config.yaml');
  writeFileSync(config, CONFIG);
  pair = await HostPair.create();
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  await pair.b.tcpServe({ address: pair.addressB.ipv4, port: 6000 });
  await pair.b.tcpServe({ address: pair.addressB.ipv6, port: 6001 });
  agent = await AgentProcess.serve(['--config', config]);
  const address = new URL(agent.url ?? '').host;
  prometheus = await PrometheusServer.start({ targets: [{ address, labels: { node: NODE } }], ruleFile: RULES });
  traffic = makeTraffic(pair);
  await eventually(async () => {
    expect((await ask(rate('packetloss_total'), ofPod(pair.b)))[0]?.value).toBeGreaterThan(0);
  });
});

afterAll(async () => {
  stop.abort();
  await traffic;
  await prometheus?.[Symbol.asyncDispose]();
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

it('Prometheus evaluates every rule without an error', async () => {
  const { groups } = await prometheus.get<{ groups: { rules: { name: string; health: string }[] }[] }>('rules');
  const rules = groups.flatMap((group) => group.rules);
  expect(rules).toHaveLength(KUBESKOOP.flatMap(rulesOf).length);
  expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
});

describe("KubeSkoop's Pod dashboard", () => {
  it.each(OF_BOTH)('%s', async (query) => {
    for (const host of [pair.a, pair.b]) {
      const { labels, value } = await askOne(query, ofPod(host));
      expect(labels).toMatchObject({ k8s_node: NODE, k8s_pod: host.netns.name });
      expect(labels).not.toHaveProperty('k8s_namespace');
      expect(value).toBeGreaterThanOrEqual(0);
    }
  });

  it('shows each event on the Pod that it concerns', async () => {
    const { a, b } = pair;
    const seen = async (name: string, host: Host) => (await askOne(rate(name), ofPod(host))).value;
    const rising: [string, Host][] = [
      ...['rxbytes', 'txbytes', 'rxpackets', 'txpackets'].flatMap((name): [string, Host][] => [
        [`netdev_${name}`, a],
        [`netdev_${name}`, b],
      ]),
      ['tcp_activeopens', a],
      ['tcp_passiveopens', b],
      ['udp_noports', b],
      ['packetloss_netfilter', b],
    ];
    // The first evaluations of the rules may all have used the same scrape, so the check is retried.
    for (const [name, host] of rising) await eventually(async () => expect(await seen(name, host)).toBeGreaterThan(0));
    expect(await seen('tcp_activeopens', b)).toBe(0);
    expect(await seen('tcp_passiveopens', a)).toBe(0);
    expect(await seen('udp_noports', a)).toBe(0);
    expect(await ask(rate('packetloss_netfilter'), ofPod(a))).toEqual([]);
  });

  it('has no orphans of a Pod to add to its sockets', async () => {
    expect(await ask(SOCKETS, ofPod(pair.b))).toEqual([]);
    expect(await ask('kubeskoop_sock_inuse{$of}', ofPod(pair.b))).toHaveLength(1);
  });
});

describe("KubeSkoop's node dashboard", () => {
  it.each([...OF_BOTH, SOCKETS])('%s', async (query) => {
    const { labels, value } = await askOne(query, OF_NODE);
    expect(labels).toMatchObject({ k8s_node: NODE });
    expect(labels).not.toHaveProperty('k8s_pod');
    expect(value).toBeGreaterThanOrEqual(0);
  });

  it.each(OF_BOTH.filter((query) => query.includes('netdev')))('%s of all Pods', async (query) => {
    const pods = (await ask(query, `k8s_node="${NODE}",k8s_pod!=""`)).map(({ labels }) => labels['k8s_pod']);
    expect(pods).toEqual(expect.arrayContaining([pair.a.netns.name, pair.b.netns.name]));
    expect(new Set(pods).size).toBe(pods.length);
  });

  it('sums the lost packets of the node and its Pods', async () => {
    const loss = (of: string) => `sum(${rate('packetloss_total').replace('$of', of)})`;
    const [isMore] = await prometheus.query(`${loss(`k8s_node="${NODE}"`)} >= bool ${loss(ofPod(pair.b))}`);
    expect(isMore?.value).toBe(1);
  });

  it.each(OF_RDMA)('%s is empty without a device', async (query) => {
    expect(await ask(query, OF_NODE)).toEqual([]);
  });

  it('finds the node for its variable', async () => {
    expect(await prometheus.get('label/node/values')).toEqual([NODE]);
  });

  it('has values of the machine once', async () => {
    for (const name of ['softnet_processed', 'softnet_dropped', 'sock_orphan', 'sock_alloc', 'sock_mem']) {
      const result = await prometheus.query(`kubeskoop_${name}`);
      expect(result.map(({ labels }) => labels)).toEqual([{ __name__: `kubeskoop_${name}`, k8s_node: NODE }]);
    }
  });
});

/** Returns the kernel's counters under KubeSkoop's names, from `nstat`. */
function kernelCounters({ netns }: Host): Map<string, number> {
  const counters = new Map<string, number>();
  const add = (name: string, value: number) => counters.set(name, (counters.get(name) ?? 0) + value);
  for (const line of netns.exec('nstat -az').split('\n')) {
    const [, table = '', field = '', value] = /^(TcpExt|Tcp|Udp|Ip)([A-Z]\w*)\s+(\d+)/.exec(line) ?? [];
    add(`kubeskoop_${table.toLowerCase()}_${field.toLowerCase()}`, Number(value));
  }
  const links = JSON.parse(netns.ip('-s -j link')) as {
    ifname: string;
    stats64: Record<'rx' | 'tx', Record<string, number>>;
  }[];
  for (const { ifname, stats64 } of links) {
    if (ifname === 'lo') continue;
    for (const direction of ['rx', 'tx'] as const) {
      for (const name of ['bytes', 'packets', 'errors', 'dropped']) {
        add(`kubeskoop_netdev_${direction}${name}`, stats64[direction][name] ?? 0);
      }
    }
  }
  return counters;
}

/** Metrics that `nstat` does not print, because they are settings or gauges. */
const GAUGES = ['kubeskoop_tcp_currestab', 'kubeskoop_ip_forwarding', 'kubeskoop_ip_defaultttl'];

it("the recorded values are the kernel's", async () => {
  stop.abort();
  await traffic;
  const names = KUBESKOOP.filter(({ probe }) => ['tcp', 'udp', 'ip', 'tcpext', 'netdev'].includes(probe))
    .flatMap(({ metrics }) => Object.keys(metrics))
    .filter((name) => !GAUGES.includes(name));
  for (const host of [pair.a, pair.b]) {
    await eventually(async () => {
      const counters = kernelCounters(host);
      const expected = Object.fromEntries(names.map((name) => [name, counters.get(name)]));
      const recorded = await ask('{__name__=~"kubeskoop_.*",$of}', ofPod(host));
      const values = new Map(recorded.map(({ labels, value }) => [labels['__name__'], value]));
      expect(Object.fromEntries(names.map((name) => [name, values.get(name)]))).toEqual(expected);
      expect(expected['kubeskoop_tcp_insegs']).toBeGreaterThan(0);
    });
  }
});

it("a Pod's lost packets are those of the agent's page", async () => {
  await eventually(async () => {
    const { samples } = await agent.page();
    const drops = samples.filter(
      ({ name, labels }) => name === 'netsonde_packet_drops_total' && labels['pod'] === pair.b.netns.name,
    );
    const sum = drops.reduce((total, { value }) => total + Number(value), 0);
    expect(sum).toBeGreaterThan(0);
    expect((await ask('kubeskoop_packetloss_total{$of}', ofPod(pair.b)))[0]?.value).toBe(sum);
  });
});
