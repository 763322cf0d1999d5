import { readFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FlowRecord } from '#api/flows.ts';
import { makeEvents } from '../../test/support/event_lines.ts';
import { EventWay } from '../../test/support/event_way.ts';
import { makeFlowLines, makeFlows } from '../../test/support/flow_lines.ts';
import { type Fault, LokiServer } from '../../test/support/loki_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { OtlpServer } from '../../test/support/otlp_server.ts';

const FLOW = { kind: 'flow', probe: 'flow' };
const KINDS = ['event', 'flow'];
const batch = { events: 100, age: '20ms' };

let loki: LokiServer;

beforeEach(async () => {
  loki = await LokiServer.start();
});

afterEach(async () => {
  await loki[Symbol.asyncDispose]();
});

/** Returns the counts of a sink for flows. */
function flowsAt(way: EventWay, sink: string) {
  return way.sinks.rows().find((row) => row.sink === sink && row.kind === 'flow');
}

const isFlow = ({ labels }: { labels: Readonly<Record<string, string>> }) => labels['type'] === 'flow';

it('sinks whose kinds name flows get them in their own format, and all others none', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'flows-'));
  await using otlp = await OtlpServer.start();
  const path = join(folder.path, 'flows.jsonl');
  await using way = await EventWay.open({
    file: { path, kinds: ['flow'] },
    loki: { url: loki.url, batch, kinds: KINDS, labels: { cluster: 'c1' } },
    otlp: { url: otlp.url, batch },
  });
  const [flow] = makeFlows(1) as [FlowRecord];
  way.send(makeFlowLines(1));
  way.publish(makeEvents(2));
  for (const sink of ['file', 'loki', 'otlp']) await way.settled(sink);
  expect(readFileSync(path, 'utf8')).toBe(`${JSON.stringify(flow)}\n`);
  expect(loki.entries.filter(isFlow)).toEqual([
    {
      labels: { cluster: 'c1', job: 'netsonde', node: 'n', probe: 'flow', type: 'flow', namespace: 'shop' },
      time: '1767225600000000000',
      line: JSON.stringify(flow),
      metadata: {
        pod: 'cart',
        netns: '1',
        severity: 'warning',
        src: '10.0.0.1:1024',
        dst: '10.0.0.7:5432',
        role: 'client',
        cause: 'refused',
      },
    },
  ]);
  expect(loki.entries).toHaveLength(3);
  expect(otlp.records.map(({ body }) => body)).toEqual(['event 0', 'event 1']);
  expect(flowsAt(way, 'otlp')).toBeUndefined();
  await way.apply({ otlp: { url: otlp.url, batch, kinds: ['flow'] } });
  way.send(makeFlowLines(1, {}, 1));
  await way.settled('otlp');
  const { time: _, node, message, ...attributes } = makeFlows(1, {}, 1)[0] as FlowRecord;
  expect(otlp.records.slice(2)).toEqual([
    {
      time: '1767225600000000001',
      severity: 'warning',
      body: message,
      resource: { 'service.name': 'netsonde', 'host.name': node },
      attributes: Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== null)),
    },
  ]);
  expect(flowsAt(way, 'otlp')).toMatchObject({ delivered: 1, pending: 0, dropped: new Map([['not_configured', 1]]) });
});

it.each([
  ['[event]', '{ role: x, cause: y }', undefined],
  ['[event, flow]', '{ role: x }', 'sinks.loki.labels.role'],
  ['[flow]', '{ cluster: c1 }', undefined],
])('kinds %s and labels %s', async (kinds, labels, fault) => {
  const sink = { loki: { url: loki.url, kinds: kinds.slice(1, -1).split(', '), labels: parseFlat(labels) } };
  const opening = EventWay.open(sink);
  if (fault === undefined) await (await opening)[Symbol.asyncDispose]();
  else await expect(opening).rejects.toThrow(fault);
});

function parseFlat(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+): (\w+)/g)].map(([, key = '', value = '']) => [key, value]));
}

describe('Loki in trouble', () => {
  const first =
    (count: number, fault: Fault) =>
    (request: number): Fault | undefined =>
      request <= count ? fault : undefined;

  it.each<[string, (request: number) => Fault | undefined]>([
    ['answers 500', first(2, { status: 500, text: 'ingester gone' })],
    ['answers 429', first(2, { status: 429, text: 'rate limit' })],
    ['answers 503 with a page', first(1, { status: 503, text: '<html>\nno' })],
    ['resets connections', first(2, { reset: 'before' })],
    ['does not know the tenant', first(1, { status: 401, text: 'no org id' })],
    ['redirects', first(1, { status: 302, headers: { location: '/x' } })],
    ['takes no large body', first(2, { status: 413, text: 'too large' })],
  ])('%s: no flow is lost, and none counted twice', async (_, fault) => {
    loki.fault = fault;
    await using way = await EventWay.open({ loki: { url: loki.url, batch, kinds: KINDS } });
    way.send(makeFlowLines(300));
    way.publish(makeEvents(50));
    await way.settled('loki');
    expect(flowsAt(way, 'loki')).toEqual({
      ...FLOW,
      sink: 'loki',
      delivered: 300,
      pending: 0,
      recovered: 0,
      dropped: new Map(),
    });
    expect(new Set(loki.entries.filter(isFlow).map(({ line }) => line)).size).toBe(300);
  });

  it('refuses flows of one Pod: these are counted as rejected, all others are delivered', async () => {
    loki.refuse = ({ metadata }) => (metadata['pod'] === 'noisy' ? 'entry too far behind' : undefined);
    await using way = await EventWay.open({ loki: { url: loki.url, batch, kinds: KINDS } });
    way.send([...makeFlowLines(20, { pod: 'noisy' }), ...makeFlowLines(100, {}, 20)]);
    await way.settled('loki');
    expect(flowsAt(way, 'loki')).toMatchObject({ delivered: 100, pending: 0, dropped: new Map([['rejected', 20]]) });
  });

  it('is away for longer than the queue lasts: the oldest are dropped, and counted', async () => {
    await loki.down();
    await using way = await EventWay.open({ loki: { url: loki.url, batch, kinds: KINDS, queue: 100 } });
    way.send(makeFlowLines(250));
    way.publish(makeEvents(50));
    await loki.up();
    await way.settled('loki');
    const row = flowsAt(way, 'loki');
    const dropped = row?.dropped.get('queue_full') ?? 0;
    // In addition to the queue, one batch is in transit.
    expect(dropped).toBeGreaterThanOrEqual(100);
    expect((row?.delivered ?? 0) + dropped).toBe(250);
    expect(loki.entries.filter(isFlow)).toHaveLength(row?.delivered ?? -1);
  });

  it('is away while the agent ends: the spool keeps flows with their kind, and the next run delivers them', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'flows-'));
    const sink = { loki: { url: loki.url, batch, kinds: KINDS, spool: { directory: join(folder.path, 'spool') } } };
    await loki.down();
    {
      const way = await EventWay.open(sink);
      way.send(makeFlowLines(40));
      await eventually(() => expect(way.status('loki')).toMatchObject({ state: 'failed', pending: 40 }));
      await way.sinks.close(100);
      expect(way.logged).toContain('flows to loki: 0 delivered, 40 kept in the spool');
    }
    await loki.up();
    await using way = await EventWay.open(sink);
    await way.settled('loki', 20_000);
    expect(flowsAt(way, 'loki')).toMatchObject({ recovered: 40, delivered: 40, pending: 0, dropped: new Map() });
    expect(loki.entries.map(({ line }) => line)).toEqual(makeFlows(40).map((flow) => JSON.stringify(flow)));
  });
});
