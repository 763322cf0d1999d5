import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import { run } from '../support/command.ts';
import { errorsOf } from '../support/conntrack_errors.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { type Host, HostPair, TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually, readBoth } from '../support/oracle.ts';

const configOf = (conntrack: object) => only({ conntrack, sock: true }, { detail: 'full' });
const CONFIG = configOf({ states: true });
const SNAT_PORT = 7035;
const CLOCKS_APART_MS = 100;

/**
 * Sends packets that the test hosts cannot send: echo requests, unrelated ICMP errors, TCP segments with invalid flags,
 * and packets of an unknown protocol. All packets are sent on the given CPU.
 */
const RAW_TRAFFIC = `
import os, socket, struct, sys
source, target, target6, cpu, count = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
os.sched_setaffinity(0, {cpu})
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
icmp6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
tcp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
for n in range(count):
    echo = struct.pack('!HHH', 0x0800, 0, 100 * cpu + n) + bytes(2)
    icmp.sendto(echo[:2] + struct.pack('!H', checksum(echo)) + echo[4:], (target, 0))
    icmp6.sendto(struct.pack('!HHHH', 0x8000, 0, 100 * cpu + n, 0), (target6, 0))
    error = struct.pack('!HHI', 0x0303, 0, 0) + bytes(28)
    icmp.sendto(error[:2] + struct.pack('!H', checksum(error)) + error[4:], (target, 0))
    segment = struct.pack('!HHIIBBHHH', 1234, 80, 1, 0, 5 << 4, 0x29, 1000, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack('!BBH', 0, 6, len(segment))
    tcp.sendto(segment[:16] + struct.pack('!H', checksum(pseudo + segment)) + segment[18:], (target, 0))
socket.socket(socket.AF_INET, socket.SOCK_RAW, 253).sendto(bytes(8), (target, 0))
`;

/**
 * Sends from two sockets to a port for which SNAT gives all packets the same source. Conntrack therefore cannot track
 * the second flow.
 */
const CLASH = `
import socket, sys
for _ in range(2):
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], int(sys.argv[2])))
    except PermissionError: pass
`;

let pair: HostPair;

function nft({ netns }: Host, ...commands: readonly string[]): void {
  for (const command of commands) run('ip', 'netns', 'exec', netns.name, 'nft', command);
}

function python({ netns }: Host, script: string, ...args: readonly (string | number)[]): void {
  run('ip', 'netns', 'exec', netns.name, 'python3', '-c', script, ...args.map(String));
}

/** Attempts `times` connections that conntrack cannot insert. */
function clash(times: number): void {
  for (let time = 0; time < times; time++) python(pair.a, CLASH, pair.addressB.ipv4, SNAT_PORT);
}

async function makeTraffic({ a, b, addressA, addressB }: HostPair): Promise<void> {
  for (const host of [a, b]) {
    nft(host, 'add table inet t', 'add chain inet t in { type filter hook input priority 0; }');
    nft(host, 'add rule inet t in ct state invalid counter');
  }
  nft(b, 'add rule inet t in tcp dport 7050 drop');
  nft(a, 'add table ip n', 'add chain ip n out { type nat hook postrouting priority 100; }');
  nft(a, `add rule ip n out udp dport ${SNAT_PORT} snat to ${addressA.ipv4}:4000`);
  for (const address of [addressB.ipv4, addressB.ipv6]) {
    const port = address.includes(':') ? 7001 : 7000;
    await b.tcpServe({ address, port });
    await a.tcpExchange({ address, port, count: 3, bytes: 100 });
    await a.tcpHold({ address, port, count: 2 });
    expect(await a.tcpTry({ address, port: 7009, timeoutMs: 30_000 })).toBe('ECONNREFUSED');
    expect(await a.tcpTry({ address, port: 7050, timeoutMs: 100 })).toBe('timeout');
    await b.udpReceive({ address, port });
    await a.udpSend({ address, port, count: 2, bytes: 1 });
  }
  for (const cpu of [0, 1]) python(a, RAW_TRAFFIC, addressA.ipv4, addressB.ipv4, addressB.ipv6, cpu, 2 + cpu);
  clash(1);
  const entry = '-I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 -t 300';
  b.netns.exec(`conntrack ${entry} --dport 2 -u SEEN_REPLY,ASSURED`);
  b.netns.exec(`conntrack ${entry} --dport 3 -u SEEN_REPLY`);
}

beforeAll(async () => {
  pair = await HostPair.create();
  await makeTraffic(pair);
});

afterAll(() => pair?.[Symbol.asyncDispose]());

/** Returns the counters of `conntrack -S`, summed over all CPUs. */
function statsOf({ netns }: Host): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [, name = '', value] of netns.exec('conntrack -S').matchAll(/(\w+)=(\d+)/g)) {
    if (name !== 'cpu') sums[name] = (sums[name] ?? 0) + Number(value);
  }
  return sums;
}

function countOf({ netns }: Host): number {
  return Number(netns.exec('conntrack -C'));
}

/** Returns the number of entries that `conntrack -L` lists, by protocol and state. */
function tableOf({ netns }: Host): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of netns.exec('conntrack -L').trim().split('\n')) {
    const [name = '', , , state = ''] = line.split(/\s+/);
    const flags = line.includes('[UNREPLIED]') ? 'unreplied' : line.includes('[ASSURED]') ? 'assured' : 'replied';
    const key = `${name === 'unknown' ? 'other' : name}/${name === 'tcp' ? state.toLowerCase() : flags}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).sort());
}

function oracleOf(host: Host) {
  return { stats: statsOf(host), entries: countOf(host), table: tableOf(host) };
}

const METRICS = {
  found: 'found_total',
  invalid: 'invalid_total',
  insert: 'inserts_total',
  insert_failed: 'insert_failed_total',
  drop: 'drops_total',
  early_drop: 'early_drops_total',
  error: 'errors_total',
  search_restart: 'search_restarts_total',
  clash_resolve: 'clashes_resolved_total',
  chaintoolong: 'chain_too_long_total',
} as const;

function oursOf(page: Exposition, host: Host): ReturnType<typeof oracleOf> {
  const pod = host.netns.name;
  const value = (metric: string) => sampleValue(page, `netsonde_conntrack_${metric}`, { namespace: '', pod });
  const states = page.samples.filter(
    ({ name, labels }) => name === 'netsonde_conntrack_entries_by_state' && labels['pod'] === pod,
  );
  const table = states.map(({ labels, value }) => [`${labels['protocol']}/${labels['state']}`, Number(value)] as const);
  return {
    stats: Object.fromEntries(Object.entries(METRICS).map(([field, metric]) => [field, value(metric) ?? -1])),
    entries: value('entries') ?? -1,
    table: Object.fromEntries(table.sort()),
  };
}

describe.each([
  ['pass', {}],
  ['netlink', { objects: '/nonexistent' }],
])('by %s', (reader, options) => {
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await TestKernel.open(CONFIG, options);
  });
  afterAll(() => agent?.[Symbol.asyncDispose]());

  it.each([
    ['a', () => pair.a],
    ['b', () => pair.b],
  ])('equals conntrack -S, -C and -L in namespace %s', async (name, hostOf) => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      () => oracleOf(host),
      () => agent.page(),
    );
    expect(oursOf(ours, host)).toEqual(oracle);
    expect(Object.keys(oracle.stats).sort()).toEqual(Object.keys(METRICS).sort());
    // Guards against traffic that increases no counters, or the same counters in both namespaces.
    const expected = { invalid: 10, error: 5, ...(name === 'a' ? { insert_failed: 1, drop: 1 } : { insert: 2 }) };
    expect(oracle.stats).toMatchObject(expected);
    const states = name === 'a' ? ['tcp/syn_sent'] : ['udp/assured', 'udp/replied'];
    expect(Object.keys(oracle.table)).toEqual(
      [
        'icmp/replied',
        'icmpv6/replied',
        'other/unreplied',
        'tcp/established',
        'tcp/time_wait',
        'udp/unreplied',
        ...states,
      ].sort(),
    );
    expect(oracle.table['tcp/established']).toBe(4);
    expect(oracle.entries).toBe(Object.values(oracle.table).reduce((sum, count) => sum + count, 0));
    expect(agent.kernel.probes().find((probe) => probe.name === 'conntrack')?.reader).toBe(reader);
  });

  it('shows the limit of the machine once, on the node', async () => {
    const page = await agent.page();
    const shown = page.samples.filter((sample) => sample.name === 'netsonde_conntrack_entries_limit');
    const limit = pair.a.netns.exec('cat /proc/sys/net/netfilter/nf_conntrack_max').trim();
    expect(shown).toEqual([
      { name: 'netsonde_conntrack_entries_limit', labels: { namespace: '', pod: '' }, value: limit },
    ]);
  });

  it('shows nothing for a namespace that tracks nothing, and keeps showing one whose table has become empty', async () => {
    using quiet = new TestNetns();
    const seriesOf = (page: Exposition) =>
      page.samples.filter(({ name, labels }) => labels['pod'] === quiet.name && name.startsWith('netsonde_conntrack_'));
    await eventually(async () => {
      const page = await agent.page();
      expect(sampleValue(page, 'netsonde_sockets_used', { pod: quiet.name })).toBeDefined();
      expect(seriesOf(page)).toEqual([]);
    });
    quiet.exec('conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 300');
    const shown = seriesOf(await agent.page());
    expect(shown).toHaveLength(12);
    quiet.exec('conntrack -F');
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_conntrack_entries', { pod: quiet.name })).toBe(0);
    expect(seriesOf(page)).toHaveLength(11);
  });

  it('leaves out a table longer than the limit, and counts the omission', async () => {
    await agent.kernel.configure(probesOf(configOf({ states: true, statesMax: 1 })));
    const page = await agent.page();
    expect(oursOf(page, pair.a).table).toEqual({});
    expect(oursOf(page, pair.a).entries).toBe(countOf(pair.a));
    expect(errorsOf(page)).toEqual([expect.stringMatching(/^netlink conntrack table [1-9]/)]);
    await agent.kernel.configure(probesOf(CONFIG));
  });
});

describe('conntrack_pressure', () => {
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await TestKernel.open(only({ conntrack: { metrics: false } }));
  });
  afterAll(() => agent?.[Symbol.asyncDispose]());

  /**
   * Returns the events of this probe in the two namespaces. Events from other namespaces may have been caused by other
   * tests.
   */
  function told(): EventRecord[] {
    const pods = [pair.a, pair.b].map((host) => host.netns.name);
    return agent.events.filter(({ probe, pod }) => probe === 'conntrack' && pods.includes(pod ?? ''));
  }

  async function ledger(): Promise<KernelLedgerEntry | undefined> {
    return (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'conntrack');
  }

  it('reports connections that could not be tracked once, and the ledger is exact', async () => {
    const before = statsOf(pair.a);
    const begunMs = Date.now();
    clash(3);
    const after = statsOf(pair.a);
    const [event] = await eventually(() => {
      expect(told().length).toBeGreaterThan(0);
      return told();
    });
    const limit = Number(pair.a.netns.exec('cat /proc/sys/net/netfilter/nf_conntrack_max'));
    const drops = (after['drop'] ?? 0) - (before['drop'] ?? 0);
    expect(drops).toBeGreaterThanOrEqual(3);
    expect(event).toMatchObject({
      probe: 'conntrack',
      type: 'conntrack_pressure',
      severity: 'warning',
      netns: String(pair.a.netns.cookie),
      pod: pair.a.netns.name,
      limit,
      drops,
      insertFailed: (after['insert_failed'] ?? 0) - (before['insert_failed'] ?? 0),
      earlyDrops: 0,
    });
    expect(event?.['seconds']).toBeGreaterThanOrEqual(10);
    expect(event?.message).toContain(`of at most ${limit} connections`);
    expect(event?.message).toContain(`${drops} packets were dropped`);
    // The event's time was converted from a different clock, so it may deviate slightly.
    expect(Date.parse(event?.time ?? '')).toBeGreaterThan(begunMs - CLOCKS_APART_MS);
    expect(Date.parse(event?.time ?? '')).toBeLessThan(Date.now() + CLOCKS_APART_MS);
    expect(await ledger()).toMatchObject({ kind: 'event', stage: 'agent', produced: 1, limited: 0, lost: 0 });
    // The configuration selects no metrics, so the page has none.
    const page = await agent.page();
    expect(page.samples.filter(({ name }) => name.startsWith('netsonde_conntrack_'))).toEqual([]);
  });

  it('holds back further events within the minute, and counts them', async () => {
    clash(1);
    await eventually(async () => expect(await ledger()).toMatchObject({ produced: 2, limited: 1, lost: 0 }));
    expect(told()).toHaveLength(1);
  });

  it('leaves nothing behind when it is off, and its ledger continues', async () => {
    const own = () => readdirSync('/proc/self/fd').length;
    const off = probesOf(only({}));
    await agent.kernel.configure(off);
    const without = own();
    expect(await ledger()).toMatchObject({ produced: 2, limited: 1 });
    await agent.kernel.configure(probesOf(only({ conntrack: true })));
    expect(await ledger()).toMatchObject({ produced: 2, limited: 1 });
    expect(own()).toBeGreaterThan(without);
    await agent.kernel.configure(off);
    expect(own()).toBe(without);
  });

  it('reports a table above the threshold at once', async () => {
    agent.events.length = 0;
    const limit = Number(pair.a.netns.exec('cat /proc/sys/net/netfilter/nf_conntrack_max'));
    // The connections that the hosts keep open already reach this threshold.
    const threshold = 4 / limit;
    const full = [pair.a, pair.b].map((host) => host.netns.name);
    await agent.kernel.configure(probesOf(only({ conntrack: { threshold } })));
    await eventually(() =>
      expect(
        told()
          .map(({ pod }) => pod)
          .sort(),
      ).toEqual(full.sort()),
    );
    expect(told()[0]).toMatchObject({ insertFailed: 0, drops: 0, seconds: 0 });
  });
});
