import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FLOW_RECORD, FLOWS_REPORT, type FlowRecord } from '#api/flows.ts';
import { asNetnsId } from '#core/netns.ts';
import { FOLLOWERS_MAX } from '#http/followers.ts';
import { ApiHost } from '../support/api_host.ts';
import { makeFlows } from '../support/flow_lines.ts';
import { makeFlowRow } from '../support/flow_rows.ts';
import { eventually } from '../support/oracle.ts';

const PATH = '/api/v1/flows';
const STREAM = '/api/v1/flows/stream';
const NDJSON = { headers: { accept: 'application/x-ndjson' } };

let host: ApiHost;

beforeEach(async () => {
  host = await ApiHost.open();
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
});

describe('totals', () => {
  beforeEach(() => {
    host.kernel.flows = {
      collectedAtMs: 1_767_225_600_000,
      edges: [
        makeFlowRow(),
        makeFlowRow({ peer: 'fd00::7', port: 80, failed: { refused: 3 } }),
        makeFlowRow({ netns: asNetnsId(1), role: 'server', peer: '10.0.0.9', port: 9_100 }),
        makeFlowRow({ peer: null, port: 0, connections: 5 }),
      ],
      departed: [],
    };
  });

  const ask = async (query: string) => FLOWS_REPORT.parse(await (await host.fetch(`${PATH}${query}`)).json());

  it('are those of the collection, worst first, with its time', async () => {
    const report = await ask('');
    expect(report).toMatchObject({ node: 'n1', collectedAt: '2026-01-01T00:00:00.000Z', omitted: 0 });
    expect(report.edges.map(({ pod, peer, port }) => [pod, peer, port])).toEqual([
      ['cart-0', 'fd00::7', 80],
      ['cart-0', '10.0.0.7', 5_432],
      ['', '10.0.0.9', 9_100],
    ]);
    expect(report.rest).toMatchObject([{ pod: 'cart-0', peer: '*', port: null, connections: 5 }]);
  });

  it.each([
    ['?peer=FD00:0::7', [80]],
    ['?peer=::ffff:10.0.0.7', [5_432]],
    ['?port=9100', [9_100]],
    ['?role=client&failed=true', [80]],
    ['?failed=false&namespace=shop&pod=cart-0&limit=1', [80]],
    ['?pod=', [9_100]],
    ['?namespace=bank', []],
  ])('%s selects', async (query, ports) => {
    const { edges } = await ask(query);
    expect(edges.map(({ port }) => port)).toEqual(ports);
  });

  it.each([
    ['?peer=db', 'peer: db is not an address; give one like 10.0.0.1 or fd00::1'],
    ['?peer=10.0.0.0/8', 'peer: 10.0.0.0/8 is not an address; give one like 10.0.0.1 or fd00::1'],
    ['?port=0', 'port: 0 is not a port; give a number from 1 to 65535'],
    ['?port=65536', 'port: 65536 is not a port; give a number from 1 to 65535'],
    ['?role=listener', 'role: listener is not a role; give client or server'],
    ['?failed=1', 'failed: 1 is neither true nor false'],
    ['?limit=0', 'limit: 0 is not a limit; give a number from 1 to 20000'],
    ['?limit=20001', 'limit: 20001 is not a limit; give a number from 1 to 20000'],
    ['?pod=a&pod=b', 'pod is given more than once; give it once'],
    ['?peers=10.0.0.1', 'no such parameter: peers; there are namespace, pod, peer, port, role, failed, limit'],
    ['?since=1m', 'no such parameter: since'],
  ])('%s is refused with field, value and remedy', async (query, words) => {
    const response = await host.fetch(`${PATH}${query}`);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toContain(words);
  });
});

describe('the stream', () => {
  const FLOWS: readonly FlowRecord[] = [
    ...makeFlows(1),
    ...makeFlows(1, { role: 'server', src: '10.0.0.9', dst: '10.0.0.1', dstPort: 80, failed: false }, 1),
    ...makeFlows(1, { pod: 'web', namespace: 'bank', cause: 'timeout' }, 2),
  ];

  async function past(query: string): Promise<number[]> {
    const response = await host.fetch(`${STREAM}?follow=false${query}`, NDJSON);
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    return lines.map((line) => FLOWS.findIndex(({ time }) => time === FLOW_RECORD.parse(JSON.parse(line)).time));
  }

  it.each([
    ['', [0, 1, 2]],
    ['&peer=10.0.0.7', [0, 2]],
    ['&peer=10.0.0.9', [1]],
    ['&port=80', [1]],
    ['&role=client', [0, 2]],
    ['&failed=true', [0, 2]],
    ['&pod=web&namespace=bank', [2]],
    ['&last=1', [2]],
    ['&since=2026-01-01T00:00:00Z', [0, 1, 2]],
    ['&since=1s', []],
  ])('of past records with %s', async (query, indices) => {
    host.flows.publish(FLOWS);
    expect(await past(query)).toEqual(indices);
  });

  it('follows records as they end, and continues where it broke off', async () => {
    const first = await host.fetch(STREAM);
    const reader = (first.body as ReadableStream<Uint8Array>).getReader();
    await eventually(() => expect(host.flows.followers).toBe(1));
    host.flows.publish(FLOWS.slice(0, 1));
    const text = Buffer.from((await reader.read()).value ?? []).toString();
    expect(text).toMatch(/^id: .*-1\nevent: flow\ndata: \{.*flow 0/);
    await reader.cancel();
    host.flows.publish(FLOWS.slice(1));
    const headers = { 'last-event-id': /^id: (.*)$/m.exec(text)?.[1] ?? '' };
    const rest = await (await host.fetch(`${STREAM}?follow=false`, { headers })).text();
    expect(rest.match(/flow \d"/g)).toEqual(['flow 1"', 'flow 2"']);
  });

  it('shares its places with streams of events: the owner with the most loses its oldest', async () => {
    const streams = await Promise.all(Array.from({ length: FOLLOWERS_MAX }, () => host.fetch('/api/v1/events')));
    const newest = await host.fetch(STREAM);
    await expect(streams[0]?.text()).rejects.toThrow();
    await eventually(() => expect([host.bus.followers, host.flows.followers]).toEqual([FOLLOWERS_MAX - 1, 1]));
    await Promise.all([newest, ...streams.slice(1)].map(({ body }) => body?.cancel()));
  });

  it.each([
    ['?limit=3', 'no such parameter: limit'],
    ['?since=yesterday', 'since: yesterday is neither a duration (10m) nor a time (RFC 3339)'],
    ['?last=x', 'last: x is not a number of records'],
    ['?follow=maybe', 'follow: maybe is neither true nor false'],
    ['?peer=*', 'peer: * is not an address'],
  ])('%s is refused with a message', async (query, words) => {
    const response = await host.fetch(`${STREAM}${query}`);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toContain(words);
  });
});
