import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { run } from '../support/command.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const CLOCKS_APART_MS = 100;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  const rules = [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add chain inet t out { type filter hook output priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
    'add rule inet t in tcp dport 7002 counter drop',
    'add rule inet t out udp dport 7003 counter drop',
  ];
  for (const rule of rules) run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  agent = await TestKernel.open(configOf({ detail: 'full', stack: true }));
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/**
 * Limits the probe to the pair by a Pod filter, because other tests on this machine would add to the ledger and the
 * events.
 */
function configOf(options: object): string {
  const names = [pair.a, pair.b].map(({ netns }) => netns.name);
  return only({ packetloss: { pods: { names }, ...options } });
}

function drops(pod: string, reason: string): Promise<number> {
  return agent.page().then((page) => sampleValue(page, 'netsonde_packet_drops_total', { pod, reason }) ?? 0);
}

/** Returns the number of packets that the namespace's nftables rules dropped. */
function ruleCount(): number {
  const text = run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', 'list', 'table', 'inet', 't');
  return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Returns the events of this probe. Other probes may report packets of other tests. */
function told(): EventRecord[] {
  return agent.events.filter(({ probe }) => probe === 'packetloss');
}

function eventsTo(port: number): EventRecord[] {
  return told().filter(({ dst }) => dst?.endsWith(`:${port}`));
}

describe.each([
  ['IPv4', () => pair.addressA.ipv4, () => pair.addressB.ipv4, (ip: string) => ip, 48],
  ['IPv6', () => pair.addressA.ipv6, () => pair.addressB.ipv6, (ip: string) => `[${ip}]`, 68],
] as const)('a netfilter drop over %s', (_, from, to, bracket, length) => {
  it('counts exactly, for the namespace that drops and for no other', async () => {
    const [a, b] = [pair.a.netns.name, pair.b.netns.name];
    agent.events.length = 0;
    const before = { a: await drops(a, 'NETFILTER_DROP'), b: await drops(b, 'NETFILTER_DROP'), rule: ruleCount() };
    await pair.a.udpSend({ address: to(), port: 7001, count: 40, bytes: 20 });
    expect(ruleCount() - before.rule).toBe(40);
    expect((await drops(b, 'NETFILTER_DROP')) - before.b).toBe(40);
    expect((await drops(a, 'NETFILTER_DROP')) - before.a).toBe(0);
    await eventually(() => expect(eventsTo(7001)).toHaveLength(40));
  });

  it('emits an event with the tuple, the reason, the function and the time', async () => {
    agent.events.length = 0;
    const startMs = Date.now();
    const source = await pair.a.udpSend({ address: to(), port: 7001, count: 1, bytes: 20 });
    const [event] = await eventually(() => {
      const found = eventsTo(7001);
      expect(found).toHaveLength(1);
      return found;
    });
    expect(event).toMatchObject({
      probe: 'packetloss',
      type: 'packet_drop',
      severity: 'warning',
      node: 'test-node',
      netns: String(pair.b.netns.cookie),
      namespace: '',
      pod: pair.b.netns.name,
      src: `${bracket(from())}:${source}`,
      dst: `${bracket(to())}:7001`,
      protocol: 'udp',
      reason: 'NETFILTER_DROP',
      device: pair.deviceB,
      length,
    });
    expect(event?.['symbol']).toMatch(/^nft_do_chain\+0x[0-9a-f]+\/0x[0-9a-f]+/);
    const stack = (event?.['stack'] ?? []) as string[];
    expect(stack[0]).toBe(event?.['symbol']);
    expect(stack.join()).toMatch(/nf_hook_slow/);
    expect(event?.message).toContain(`${bracket(to())}:7001`);
    // The event's time is converted from the kernel's monotonic clock, so it may differ slightly.
    expect(Date.parse(event?.time ?? '')).toBeGreaterThan(startMs - CLOCKS_APART_MS);
    expect(Date.parse(event?.time ?? '')).toBeLessThan(Date.now() + CLOCKS_APART_MS);
    expect(event?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  });

  it('names a dropped SYN, and a packet dropped on its way out', async () => {
    agent.events.length = 0;
    const before = await drops(pair.b.netns.name, 'NETFILTER_DROP');
    await pair.b.udpSend({ address: from(), port: 7003, count: 2, bytes: 5 });
    expect((await drops(pair.b.netns.name, 'NETFILTER_DROP')) - before).toBe(2);
    const found = await eventually(() => {
      expect(eventsTo(7003)).toHaveLength(2);
      return eventsTo(7003);
    });
    for (const event of found) {
      expect(event).toMatchObject({ pod: pair.b.netns.name, reason: 'NETFILTER_DROP', protocol: 'udp' });
    }
    expect(await pair.a.tcpTry({ address: to(), port: 7002, timeoutMs: 200 })).toBe('timeout');
    const [syn] = await eventually(() => {
      expect(eventsTo(7002).length).toBeGreaterThan(0);
      return eventsTo(7002);
    });
    expect(syn).toMatchObject({ protocol: 'tcp', reason: 'NETFILTER_DROP', pod: pair.b.netns.name });
  });
});

it('shows other reasons by their names in the running kernel', async () => {
  const before = await drops(pair.b.netns.name, 'NO_SOCKET');
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7009, count: 3, bytes: 5 });
  expect((await drops(pair.b.netns.name, 'NO_SOCKET')) - before).toBe(3);
});

it('limits events by namespace, and the ledger balances', async () => {
  await agent.kernel.configure(probesOf(configOf({ limit: 5 })));
  agent.events.length = 0;
  const ledger = async () => (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'packetloss');
  const before = await ledger();
  const startMs = performance.now();
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 200, bytes: 5 });
  const seconds = (performance.now() - startMs) / 1_000;
  await pair.b.udpSend({ address: pair.addressA.ipv4, port: 7008, count: 1, bytes: 5 });
  // The limit of one namespace does not affect the other namespace.
  await eventually(() => expect(eventsTo(7008)).toHaveLength(1));
  const after = await ledger();
  const grown = (field: 'produced' | 'limited' | 'lost') => (after?.[field] ?? 0) - (before?.[field] ?? 0);
  expect(grown('produced')).toBe(201);
  // The limit allows a burst of five and five events per second. The other namespace has one event.
  expect(grown('produced') - grown('limited')).toBeLessThanOrEqual(5 + Math.ceil(5 * seconds) + 1);
  await eventually(() => expect(told()).toHaveLength(grown('produced') - grown('limited') - grown('lost')));
});

it('continues its counts when it is switched off and on', async () => {
  const total = () => drops(pair.b.netns.name, 'NETFILTER_DROP');
  const before = await total();
  await agent.kernel.configure(probesOf(only({})));
  expect(await total()).toBe(0);
  await agent.kernel.configure(probesOf(configOf({ events: false })));
  expect(await total()).toBe(before);
  agent.events.length = 0;
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 4, bytes: 5 });
  expect(await total()).toBe(before + 4);
  expect(told()).toEqual([]);
});

it('counts drops that are configured as expected separately, and emits no event for them', async () => {
  await agent.kernel.configure(probesOf(configOf({ noLoss: ['NETFILTER_DROP'] })));
  agent.events.length = 0;
  const configured = async () =>
    sampleValue(await agent.page(), 'netsonde_packet_discards_total', {
      pod: pair.b.netns.name,
      class: 'configured',
    }) ?? 0;
  const before = await configured();
  const lost = await drops(pair.b.netns.name, 'NETFILTER_DROP');
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 6, bytes: 5 });
  expect((await configured()) - before).toBe(6);
  expect(await drops(pair.b.netns.name, 'NETFILTER_DROP')).toBe(lost);
  expect(eventsTo(7001)).toEqual([]);
});
