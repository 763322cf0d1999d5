import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricDescriptor, MetricSet } from '../../src/probes/metric.ts';
import { netdev } from '../../src/probes/netdev.ts';
import { tcp } from '../../src/probes/tcp.ts';
import { tcpext } from '../../src/probes/tcpext.ts';
import { udp } from '../../src/probes/udp.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { type Host, HostPair } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

const CONFIG = `
detail: full
probes: { tcpext: { fields: all }, netdev: { loopback: true } }
`;

let pair: HostPair;
let agent: TestKernel;

/** Everything that moves a counter: both families, both directions, refusals, full buffers, a queue that drops. */
async function makeTraffic({ a, b, addressB, deviceA }: HostPair): Promise<void> {
  a.netns.tc(`qdisc add dev ${deviceA} root tbf rate 2mbit burst 3000 limit 6000`);
  for (const address of [addressB.ipv4, addressB.ipv6]) {
    const port = address.includes(':') ? 6001 : 6000;
    await b.tcpServe({ address, port });
    await a.tcpExchange({ address, port, count: 3, bytes: 20_000 });
    await a.tcpHold({ address, port, count: 2 });
    expect(await a.tcpTry({ address, port: 6009, timeoutMs: 1_000 })).toBe('ECONNREFUSED');
    await b.udpReceive({ address, port });
    await a.udpSend({ address, port, count: 7, bytes: 100 });
    await a.udpSend({ address, port: 6008, count: 3, bytes: 10 });
    // More than the bucket and the queue hold.
    await a.udpSend({ address, port, count: 20, bytes: 1200 });
  }
}

beforeAll(async () => {
  pair = await HostPair.create();
  await makeTraffic(pair);
  agent = await TestKernel.open(CONFIG);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/** `nstat -az` as a map; its counters are absolute with -a. */
function nstat({ netns }: Host): Map<string, number> {
  const rows = netns
    .exec('nstat -az')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  return new Map(rows.filter((row) => row.length >= 2).map(([name = '', value]) => [name, Number(value)]));
}

function ofPod(page: Exposition, host: Host, metric: string, labels: Record<string, string> = {}): number | undefined {
  return sampleValue(page, metric, { namespace: '', pod: host.netns.name, ...labels });
}

function fieldOf({ source }: MetricDescriptor): string {
  return source.replace(/,.*/, '').replace(/^.*\./, '');
}

function plainMetrics(metrics: MetricSet): MetricDescriptor[] {
  return Object.values(metrics).filter(({ labels }) => Object.keys(labels).length === 0);
}

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('counters of %s', (_, hostOf) => {
  it('tcp equals nstat', async () => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      () => [...nstat(host)],
      () => agent.page(),
    );
    const expected = new Map(oracle);
    for (const metric of plainMetrics(tcp.metrics)) {
      // nstat does not print the one gauge of the table.
      if (metric.type === 'gauge') continue;
      expect(ofPod(ours, host, metric.name), metric.name).toBe(expected.get(`Tcp${fieldOf(metric)}`));
    }
    expect(ofPod(ours, host, 'netsonde_tcp_active_opens_total')).toBe(host === pair.a ? 12 : 0);
    expect(ofPod(ours, host, 'netsonde_tcp_passive_opens_total')).toBe(host === pair.a ? 0 : 10);
    expect(ofPod(ours, host, 'netsonde_tcp_established_connections')).toBe(4);
  });

  it('tcpext equals nstat in every field of this kernel', async () => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      () => [...nstat(host)],
      () => agent.page(),
    );
    const expected = new Map(oracle.filter(([name]) => name.startsWith('TcpExt')));
    expect(expected.size).toBeGreaterThan(100);
    const seen = new Set<string>();
    const compare = (field: string, value: number | undefined) => {
      seen.add(`TcpExt${field}`);
      expect(value, field).toBe(expected.get(`TcpExt${field}`));
    };
    for (const metric of plainMetrics(tcpext.metrics)) {
      if (metric.unit !== 'seconds') compare(fieldOf(metric), ofPod(ours, host, metric.name));
    }
    for (const { name, labels, value } of ours.samples) {
      if (labels['pod'] !== host.netns.name) continue;
      if (name === 'netsonde_tcpext_fields_total') compare(labels['field'] ?? '', Number(value));
    }
    const byCause = {
      close: 'OnClose',
      data: 'OnData',
      failed: 'Failed',
      linger: 'OnLinger',
      memory: 'OnMemory',
      timeout: 'OnTimeout',
    };
    for (const [cause, field] of Object.entries(byCause)) {
      compare(`TCPAbort${field}`, ofPod(ours, host, 'netsonde_tcp_aborts_total', { cause }));
    }
    const skipped = {
      syn_recv: 'SynRecv',
      paws: 'PAWS',
      seq: 'Seq',
      fin_wait2: 'FinWait2',
      time_wait: 'TimeWait',
      challenge: 'Challenge',
    };
    for (const [cause, field] of Object.entries(skipped)) {
      compare(`TCPACKSkipped${field}`, ofPod(ours, host, 'netsonde_tcp_acks_skipped_total', { cause }));
    }
    const chrono = ofPod(ours, host, 'netsonde_tcp_memory_pressure_seconds_total') ?? Number.NaN;
    compare('TCPMemoryPressuresChrono', chrono * 1000);
    expect([...expected.keys()].filter((name) => !seen.has(name))).toEqual([]);
  });

  it('udp equals nstat, IPv4 and IPv6', async () => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      () => [...nstat(host)],
      () => agent.page(),
    );
    const expected = new Map(oracle);
    for (const metric of Object.values<MetricDescriptor>(udp.metrics)) {
      const field = metric.source.replace(/^.*Udp6/, '');
      expect(ofPod(ours, host, metric.name, { family: 'ipv4' }), metric.name).toBe(expected.get(`Udp${field}`));
      expect(ofPod(ours, host, metric.name, { family: 'ipv6' }), metric.name).toBe(expected.get(`Udp6${field}`));
    }
    for (const family of ['ipv4', 'ipv6']) {
      const noPort = ofPod(ours, host, 'netsonde_udp_no_port_total', { family });
      expect(noPort).toBe(host === pair.a ? 0 : 3);
    }
  });

  it('netdev equals ip -s link, for each device', async () => {
    const host = hostOf();
    interface Link {
      ifname: string;
      stats64: { rx: Record<string, number>; tx: Record<string, number> };
    }
    const { oracle, ours } = await readBoth(
      () => JSON.parse(host.netns.exec('ip -s -s -j link')) as Link[],
      () => agent.page(),
    );
    expect(oracle.map(({ ifname }) => ifname).sort()).toEqual(
      ['lo', host === pair.a ? pair.deviceA : pair.deviceB].sort(),
    );
    for (const { ifname, stats64 } of oracle) {
      const { rx, tx } = stats64;
      const expected: Record<string, number | undefined> = {
        received_bytes: rx['bytes'],
        received_packets: rx['packets'],
        received_errors: rx['errors'],
        received_drops: (rx['dropped'] ?? 0) + (rx['missed_errors'] ?? rx['missed'] ?? 0),
        received_fifo_errors: rx['fifo_errors'],
        received_frame_errors:
          (rx['length_errors'] ?? 0) + (rx['over_errors'] ?? 0) + (rx['crc_errors'] ?? 0) + (rx['frame_errors'] ?? 0),
        received_multicast: rx['multicast'],
        sent_bytes: tx['bytes'],
        sent_packets: tx['packets'],
        sent_errors: tx['errors'],
        sent_drops: tx['dropped'],
        sent_fifo_errors: tx['fifo_errors'],
        sent_carrier_errors:
          (tx['carrier_errors'] ?? 0) +
          (tx['aborted_errors'] ?? 0) +
          (tx['window_errors'] ?? 0) +
          (tx['heartbeat_errors'] ?? 0),
        collisions: tx['collisions'],
      };
      expect(Object.keys(expected)).toHaveLength(Object.keys(netdev.metrics).length);
      for (const [what, value] of Object.entries(expected)) {
        expect(ofPod(ours, host, `netsonde_netdev_${what}_total`, { device: ifname }), `${ifname} ${what}`).toBe(value);
      }
    }
  });

  it('sock equals sockstat and sockstat6 read inside', async () => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      // What is the machine's moves with everything else that runs on it.
      () => host.netns.exec('cat /proc/net/sockstat /proc/net/sockstat6').replace(/ (orphan|alloc|mem) \d+/g, ''),
      () => agent.page(),
    );
    const number = (line: string, name: string) =>
      Number(new RegExp(`^${line}:.* ${name} (\\d+)`, 'm').exec(oracle)?.[1]);
    expect(ofPod(ours, host, 'netsonde_sockets_used')).toBe(number('sockets', 'used'));
    expect(ofPod(ours, host, 'netsonde_tcp_time_wait_sockets')).toBe(number('TCP', 'tw'));
    for (const [family, suffix] of [
      ['ipv4', ''],
      ['ipv6', '6'],
    ] as const) {
      const labels = { family };
      expect(ofPod(ours, host, 'netsonde_tcp_sockets_in_use', labels)).toBe(number(`TCP${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_udp_sockets_in_use', labels)).toBe(number(`UDP${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_raw_sockets_in_use', labels)).toBe(number(`RAW${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_ip_fragment_queues', labels)).toBe(number(`FRAG${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_ip_fragment_bytes', labels)).toBe(number(`FRAG${suffix}`, 'memory'));
    }
    expect(number('TCP', 'inuse')).toBeGreaterThan(0);
    expect(number('TCP6', 'inuse')).toBeGreaterThan(0);
  });

  it('qdisc equals tc -s qdisc', async () => {
    const host = hostOf();
    interface Qdisc {
      kind: string;
      dev: string;
      root?: boolean;
      [stat: string]: unknown;
    }
    const { oracle, ours } = await readBoth(
      () => (JSON.parse(host.netns.tc('-s -j qdisc show')) as Qdisc[]).filter(({ kind }) => kind !== 'noqueue'),
      () => agent.page(),
    );
    const shown = ours.samples.filter(
      ({ name, labels }) => name.startsWith('netsonde_qdisc_') && labels['pod'] === host.netns.name,
    );
    if (host === pair.b) {
      expect(oracle).toEqual([]);
      expect(shown).toEqual([]);
      return;
    }
    expect(oracle.map(({ kind }) => kind)).toEqual(['tbf']);
    for (const row of oracle) {
      const labels = { device: row.dev, kind: row.kind };
      const expected = {
        sent_bytes_total: row['bytes'],
        sent_packets_total: row['packets'],
        drops_total: row['drops'],
        overlimits_total: row['overlimits'],
        requeues_total: row['requeues'],
        queued_packets: row['qlen'],
        backlog_bytes: row['backlog'],
      };
      for (const [what, value] of Object.entries(expected)) {
        expect(ofPod(ours, host, `netsonde_qdisc_${what}`, labels), what).toBe(value);
      }
      expect(row['drops']).toBeGreaterThan(0);
    }
    expect(shown).toHaveLength(7);
  });
});

it('node metrics of sock are bracketed by two readings of the file', async () => {
  const read = () => {
    const text = pair.a.netns.exec('cat /proc/net/sockstat');
    return ['orphan', 'alloc'].map((name) => Number(new RegExp(`^TCP:.* ${name} (\\d+)`, 'm').exec(text)?.[1]));
  };
  const before = read();
  const page = await agent.page();
  const after = read();
  for (const [index, name] of ['netsonde_node_tcp_orphan_sockets', 'netsonde_node_tcp_allocated_sockets'].entries()) {
    const value = sampleValue(page, name, { namespace: '', pod: '' });
    expect(value).toBeGreaterThanOrEqual(Math.min(before[index] ?? 0, after[index] ?? 0));
    expect(value).toBeLessThanOrEqual(Math.max(before[index] ?? 0, after[index] ?? 0));
  }
});

it('softnet shows each CPU once, on the node', async () => {
  const { oracle, ours } = await readBoth(
    () => pair.a.netns.exec('cat /proc/net/softnet_stat'),
    () => agent.page(),
  );
  const rows = oracle.trim().split('\n');
  const shown = ours.samples.filter(({ name }) => name === 'netsonde_softnet_processed_packets_total');
  expect(shown).toHaveLength(rows.length);
  for (const row of rows) {
    const cells = row.split(' ').map((cell) => Number.parseInt(cell, 16));
    const labels = { namespace: '', pod: '', cpu: String(cells[12]) };
    expect(sampleValue(ours, 'netsonde_softnet_processed_packets_total', labels)).toBe(cells[0]);
    expect(sampleValue(ours, 'netsonde_softnet_dropped_packets_total', labels)).toBe(cells[1]);
    expect(sampleValue(ours, 'netsonde_softnet_time_squeezed_total', labels)).toBe(cells[2]);
    expect(sampleValue(ours, 'netsonde_softnet_received_rps_total', labels)).toBe(cells[9]);
    expect(sampleValue(ours, 'netsonde_softnet_flow_limit_reached_total', labels)).toBe(cells[10]);
  }
});
