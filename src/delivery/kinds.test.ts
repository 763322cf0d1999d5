import { readdirSync, readFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { RECORD_KINDS } from '#events/kinds.ts';
import { makeEvents } from '../../test/support/event_lines.ts';
import { EventWay } from '../../test/support/event_way.ts';
import { readStream } from '../../test/support/incident_streams.ts';
import { LokiServer } from '../../test/support/loki_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { OtlpServer } from '../../test/support/otlp_server.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';

const KINDS = [...RECORD_KINDS, REQUEST_KIND];

const EVENT = { kind: 'event', probe: 'packetloss' };
const REQUEST = { kind: 'request', probe: 'http' };
const NONE = { recovered: 0, delivered: 0, pending: 0, dropped: new Map() };

const requests = (count: number, first = 0) => makeRequests(count, first).map(REQUEST_KIND.toRecord);

function rowsOf(way: EventWay, sink: string) {
  return way.sinks.rows().filter((row) => row.sink === sink);
}

it('two kinds: each sink gets those that it asks for, in its own format, also across a restart', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kinds-'));
  await using loki = await LokiServer.start();
  await using otlp = await OtlpServer.start();
  const [path, directory] = [join(folder.path, 'events.jsonl'), join(folder.path, 'spool')];
  const kinds = ['event', 'request'];
  const batch = { age: '50ms' };
  const sinks = {
    // This sink does not list record kinds, so it accepts only events.
    file: { path },
    loki: { url: loki.url, kinds, batch, labels: { cluster: 'c1' }, spool: { directory } },
    otlp: { url: otlp.url, kinds: ['request'], batch },
  };
  await loki.down();
  {
    const way = await EventWay.open(sinks, KINDS);
    way.publish(makeEvents(50));
    way.send(requests(30));
    await way.settled('file');
    await way.settled('otlp');
    await eventually(() => expect(way.status('loki')).toMatchObject({ state: 'failed', pending: 80 }));
    expect(rowsOf(way, 'file')).toEqual([{ ...NONE, ...EVENT, sink: 'file', delivered: 50 }]);
    expect(rowsOf(way, 'otlp')).toEqual([{ ...NONE, ...REQUEST, sink: 'otlp', delivered: 30 }]);
    expect(rowsOf(way, 'loki')).toEqual([
      { ...NONE, ...EVENT, sink: 'loki', pending: 50 },
      { ...NONE, ...REQUEST, sink: 'loki', pending: 30 },
    ]);
    await way.sinks.close(100);
    expect(way.logged).toEqual(
      expect.arrayContaining([
        'events to loki: 0 delivered, 50 kept in the spool',
        'requests to loki: 0 delivered, 30 kept in the spool',
      ]),
    );
  }
  await loki.up();
  await using way = await EventWay.open(sinks, KINDS);
  way.publish(makeEvents(5, {}, 50));
  way.send(requests(3, 30));
  await way.settled('loki', 20_000);
  await way.settled('file');
  await way.settled('otlp');
  expect(rowsOf(way, 'loki')).toEqual([
    { ...NONE, ...EVENT, sink: 'loki', recovered: 50, delivered: 55 },
    { ...NONE, ...REQUEST, sink: 'loki', recovered: 30, delivered: 33 },
  ]);
  expect(rowsOf(way, 'file')).toEqual([{ ...NONE, ...EVENT, sink: 'file', delivered: 5 }]);

  expect(loki).toMatchObject({ unordered: 0, duplicates: 0 });
  const isRequest = ({ labels }: { labels: Readonly<Record<string, string>> }) => labels['kind'] === 'request';
  expect(loki.entries.filter(isRequest).sort((a, b) => (a.time < b.time ? -1 : 1))).toEqual(
    makeRequests(30)
      .concat(makeRequests(3, 30))
      .map((request) => ({
        labels: { cluster: 'c1', job: 'netsonde', kind: 'request', node: 'n', verb: request.verb, namespace: 'shop' },
        time: request.timeNs,
        line: JSON.stringify(request),
        metadata: { pod: 'cart', path: request.path, status: String(request.status) },
      })),
  );
  const lines = makeEvents(55).map((event) => JSON.stringify(event));
  expect(loki.entries.filter((entry) => !isRequest(entry)).map(({ line }) => line)).toEqual(lines);
  expect(readFileSync(path, 'utf8')).toBe(`${lines.join('\n')}\n`);
  expect(otlp.records).toHaveLength(33);
  const [failed] = makeRequests(10).slice(9);
  const { node, ...attributes } = failed ?? { node: '' };
  expect(otlp.records[9]).toEqual({
    time: '1767225700000009000',
    severity: 'critical',
    body: JSON.stringify(failed),
    resource: { 'service.name': 'netsonde', 'host.name': node },
    attributes,
  });
  expect(otlp.records[0]?.severity).toBe('info');
});

it('a sink whose kinds change gets the waiting records, then the new kinds; records that it missed are accounted for', async () => {
  await using loki = await LokiServer.start();
  await loki.down();
  const sink = (...kinds: string[]) => ({ loki: { url: loki.url, kinds, batch: { age: '50ms' } } });
  await using way = await EventWay.open(sink('event', 'request'), KINDS);
  way.send(requests(10));
  await way.apply(sink('event'));
  way.send(requests(10, 10));
  way.publish(makeEvents(5));
  // The sink accepts no new requests, but must deliver those in its queue.
  expect(rowsOf(way, 'loki')).toMatchObject([
    { ...REQUEST, pending: 10 },
    { ...EVENT, pending: 5 },
  ]);
  await loki.up();
  await way.settled('loki', 20_000);
  expect(rowsOf(way, 'loki')).toEqual([{ ...NONE, ...EVENT, sink: 'loki', delivered: 5 }]);
  await way.apply(sink('event', 'request'));
  way.send(requests(1, 20));
  await way.settled('loki');
  expect(rowsOf(way, 'loki')).toContainEqual({
    ...NONE,
    ...REQUEST,
    sink: 'loki',
    delivered: 11,
    dropped: new Map([['not_configured', 10]]),
  });
  expect(loki.entries).toHaveLength(16);
});

it('names the existing kinds if one is unknown', async () => {
  await expect(EventWay.open({ stdout: { kinds: ['event', 'requests'] } }, KINDS)).rejects.toThrow(
    'sinks.stdout.kinds.1: "requests" is not allowed; allowed: one of event, flow, incident, request',
  );
  await expect(EventWay.open({ stdout: { kinds: ['requests'] } })).rejects.toThrow(
    'sinks.stdout.kinds.0: "requests" is not allowed; allowed: one of event, flow, incident, request',
  );
  await expect(EventWay.open({ stdout: { kinds: [] } })).rejects.toThrow(
    'sinks.stdout.kinds: [] is not allowed; allowed: at least one of event, flow, incident, request',
  );
  await expect(EventWay.open({ stdout: { kinds: 'event' } })).rejects.toThrow(
    'sinks.stdout.kinds: "event" is not allowed; allowed: a list',
  );
});

it('the log says for each kind what became of its records', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kinds-'));
  const file = { path: join(folder.path, 'all.jsonl'), kinds: ['request', 'event'] };
  const way = await EventWay.open({ file }, KINDS);
  way.send(requests(3));
  await way.settled('file');
  await way[Symbol.asyncDispose]();
  expect(way.logged).toEqual(['requests to file: 3 delivered', 'events to file: 0 delivered']);
  expect(readdirSync(folder.path)).toEqual(['all.jsonl']);
});

it('a sink gets incidents only if its kinds name them, and gets the same events as before', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kinds-'));
  const [plain, both] = [join(folder.path, 'events.jsonl'), join(folder.path, 'both.jsonl')];
  const linesOf = async (file: object, path: string) => {
    await using way = await EventWay.open({ file });
    way.publish(readStream('refused'));
    way.lane[Symbol.dispose]();
    await way.settled('file');
    const rows = rowsOf(way, 'file').map(({ kind, probe, delivered }) => `${kind} ${probe} ${delivered}`);
    return { rows, lines: readFileSync(path, 'utf8').trimEnd().split('\n') };
  };
  const events = await linesOf({ path: plain }, plain);
  const all = await linesOf({ path: both, kinds: ['event', 'incident'] }, both);
  expect(events.lines).toHaveLength(80);
  expect(events.rows.join()).not.toContain('incident');
  expect(all.rows).toEqual([...events.rows, 'incident incidents 1']);
  expect(all.lines.filter((line) => !line.includes('"type":"incident"'))).toEqual(events.lines);
  expect(JSON.parse(all.lines.at(-1) ?? '')).toMatchObject({ cause: 'refused', count: 80 });
});
