import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { run } from '../support/command.ts';
import { readEvent } from '../support/contract.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';

let pair: HostPair;
let agent: AgentProcess;

beforeAll(async () => {
  pair = await HostPair.create();
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport { 7001-7004, 53 } counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  agent = await AgentProcess.serve();
  await eventually(async () => {
    expect(sampleValue(await agent.page(), 'netsonde_sockets_used', { pod: pair.b.netns.name })).toBeDefined();
  });
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

function parseLines(text: string): EventRecord[] {
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map(readEvent);
}

/** Follows a stream of events until disposed. */
async function follow(path: string, accept: string): Promise<{ text: () => string } & AsyncDisposable> {
  const controller = new AbortController();
  const response = await fetch(`${agent.url}${path}`, { headers: { accept }, signal: controller.signal });
  let text = '';
  const reading = (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  })().catch(() => undefined);
  return {
    text: () => text,
    [Symbol.asyncDispose]: async () => {
      controller.abort();
      await reading;
    },
  };
}

describe.each([
  ['IPv4', () => pair.addressA.ipv4, () => pair.addressB.ipv4, (ip: string) => ip],
  ['IPv6', () => pair.addressA.ipv6, () => pair.addressB.ipv6, (ip: string) => `[${ip}]`],
] as const)('a drop over %s', (_, from, to, bracket) => {
  it('is on stdout, on both streams and in the history', async () => {
    await using sse = await follow('/api/v1/events', 'text/event-stream');
    await using ndjson = await follow('/api/v1/events?follow=true&type=packet_drop', 'application/x-ndjson');
    await using other = await follow(`/api/v1/events?follow=true&pod=${pair.a.netns.name}`, 'application/x-ndjson');
    const source = await pair.a.udpSend({ address: to(), port: 7001, count: 1, bytes: 9 });
    const src = `${bracket(from())}:${source}`;
    const expected = {
      type: 'packet_drop',
      namespace: '',
      pod: pair.b.netns.name,
      src,
      dst: `${bracket(to())}:7001`,
      protocol: 'udp',
      reason: 'NETFILTER_DROP',
      symbol: expect.stringMatching(/^nft_do_chain\+0x/),
    };
    const ours = (events: readonly EventRecord[]) => events.filter((event) => event.src === src);
    await eventually(() => {
      expect(ours(parseLines(agent.stdout))).toEqual([expect.objectContaining(expected)]);
      expect(ours(parseLines(ndjson.text()))).toEqual([expect.objectContaining(expected)]);
      const data = sse.text().replace(/^data: /gm, '');
      expect(ours(parseLines(data))).toEqual([expect.objectContaining(expected)]);
      expect(sse.text()).toMatch(/^event: packet_drop$/m);
    });
    expect(ours(parseLines(other.text()))).toEqual([]);
    const query = `pod=${pair.b.netns.name}&probe=packetloss&since=1m`;
    const history = await agent.get(`/api/v1/events?${query}`, { accept: 'application/x-ndjson' });
    expect(ours(parseLines(await history.text()))).toEqual([expect.objectContaining(expected)]);
    const later = await agent.get(`/api/v1/events?since=${new Date(Date.now() + 60_000).toISOString()}`, {
      accept: 'application/x-ndjson',
    });
    expect(await later.text()).toBe('');
  });
});

it('failed lookups, each from its own port, are the first event and one for all the others', async () => {
  const address = pair.addressB.ipv4;
  const ports = new Set<number>();
  for (let times = 0; times < 20; times++) ports.add(await pair.a.udpSend({ address, port: 53, count: 1, bytes: 30 }));
  expect(ports.size).toBeGreaterThan(10);
  await eventually(() => {
    const found = parseLines(agent.stdout).filter(({ dst }) => dst === `${address}:53`);
    expect(found.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(20);
    expect(found[0]).not.toHaveProperty('count');
    // There are more than two events if sending twenty datagrams took longer than a folding window.
    expect(found.length).toBeLessThan(10);
    for (const event of found.slice(1)) for (const port of event.ports ?? []) expect(ports).toContain(port);
    expect(found[1]?.ports?.length).toBeGreaterThan(1);
  });
});

it('the ledger balances: events that the kernel produced are limited, lost or delivered', async () => {
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 500, bytes: 9 });
  await eventually(async () => {
    const page = await agent.page();
    const probe = 'packetloss';
    const value = (name: string, labels: Record<string, string>) =>
      sampleValue(page, `netsonde_events_${name}`, labels) ?? 0;
    const produced = value('produced_total', { probe });
    const limited = value('limited_total', { probe, stage: 'kernel' });
    const lost = value('dropped_total', { probe, sink: '' });
    const folded = value('folded_total', { probe });
    const delivered = value('delivered_total', { probe, sink: 'stdout' });
    expect(value('pending', { probe, sink: 'stdout' })).toBe(0);
    expect(produced).toBe(limited + lost + folded + delivered + value('pending', { probe, sink: '' }));
    expect(folded).toBeGreaterThan(0);
    expect(produced).toBeGreaterThan(500);
    expect(limited).toBeGreaterThan(0);
    expect(parseLines(agent.stdout).filter((event) => event.probe === probe)).toHaveLength(delivered);
  });
});

it('the ledger balances for events that the agent itself produces', async () => {
  const probe = 'conntrack';
  pair.b.netns.exec('conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 300');
  await using folder = await mkdtempDisposable(join(tmpdir(), 'events-'));
  const config = join(folder.path, 'config.yaml');
  // A single connection in a table of 2^20 exceeds this threshold.
  writeFileSync(config, '{ probes: { packetloss: false, conntrack: { threshold: 0.000001 } } }');
  await using own = await AgentProcess.serve(['--config', config]);
  await eventually(async () => {
    const told = parseLines(own.stdout).filter((event) => event.probe === probe);
    expect(told.map(({ pod }) => pod)).toContain(pair.b.netns.name);
    const page = await own.page();
    const value = (name: string, labels: Record<string, string>) =>
      sampleValue(page, `netsonde_events_${name}`, { probe, ...labels });
    expect(value('produced_total', {})).toBe(told.length);
    expect(value('limited_total', { stage: 'agent' })).toBe(0);
    expect(value('delivered_total', { sink: 'stdout' })).toBe(told.length);
    expect(value('pending', { sink: 'stdout' })).toBe(0);
    expect(value('dropped_total', { sink: '' })).toBeUndefined();
  });
});

it('a stream continues where it ended, and begins with the requested number of events', async () => {
  for (const port of [7001, 7002, 7003, 7004]) {
    await pair.a.udpSend({ address: pair.addressB.ipv4, port, count: 1, bytes: 9 });
  }
  const ask = async (query: string, headers: Record<string, string> = {}) => {
    const accept = { accept: 'text/event-stream' };
    // The request filters by Pod, because other tests may fill the history with their events.
    const response = await agent.get(`/api/v1/events?follow=false&pod=${pair.b.netns.name}${query}`, {
      ...accept,
      ...headers,
    });
    return [...(await response.text()).matchAll(/^id: (\S+)$/gm)].map(([, id = '']) => id);
  };
  const ids = await eventually(async () => {
    const all = await ask('');
    expect(all.length).toBeGreaterThan(3);
    return all;
  });
  expect(new Set(ids).size).toBe(ids.length);
  const lastId = ids.at(-3) ?? '';
  expect((await ask('', { 'last-event-id': lastId })).slice(0, 2)).toEqual(ids.slice(-2));
  expect((await ask('', { 'last-event-id': `x${lastId}` })).slice(0, ids.length)).toEqual(ids);
  expect(await ask('&last=2')).toHaveLength(2);
  expect((await agent.get('/api/v1/events?last=two')).status).toBe(400);
});

it('serves a new follower even where others hold all the streams: one of them ends', async () => {
  await using streams = new AsyncDisposableStack();
  for (let index = 0; index < 16; index++) streams.use(await follow('/api/v1/events', 'text/event-stream'));
  const ended = async () => sampleValue(await agent.page(), 'netsonde_http_refused_total', { cause: 'followers' }) ?? 0;
  const before = await ended();
  const response = await agent.get('/api/v1/events');
  expect(response.status).toBe(200);
  await response.body?.cancel();
  expect(await ended()).toBe(before + 1);
});
