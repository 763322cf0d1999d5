import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { StdoutSink } from '#delivery/sinks/stdout.ts';
import { run } from '../support/command.ts';
import { makeEvents, makeLines, messages } from '../support/event_lines.ts';
import { EventWay } from '../support/event_way.ts';
import { eventually } from '../support/oracle.ts';
import { OtlpServer } from '../support/otlp_server.ts';

/** Mounts a tmpfs of 1 MB. */
async function smallDisk(): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await mkdtempDisposable(join(tmpdir(), 'disk-'));
  run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder.path);
  return {
    path: folder.path,
    [Symbol.asyncDispose]: async () => {
      run('umount', '-l', folder.path);
      await folder.remove();
    },
  };
}

function readLines(path: string): EventRecord[] {
  const text = readFileSync(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as EventRecord);
}

it('a full disk: the file has whole lines only, the sink reports why it fails, and continues when there is room', async () => {
  await using disk = await smallDisk();
  const [path, ballast] = [join(disk.path, 'events.jsonl'), join(disk.path, 'ballast')];
  writeFileSync(ballast, Buffer.alloc(900 * 1024));
  await using way = await EventWay.open({ file: { path } });
  for (let batch = 0; batch < 20; batch++) way.publish(makeEvents(100, {}, batch * 100));
  await eventually(() =>
    expect(way.status('file')).toMatchObject({ state: 'failed', reason: expect.stringMatching(/ENOSPC/) }),
  );
  const written = readLines(path).length;
  expect(way.ledger('file')).toMatchObject({ delivered: written, pending: 2_000 - written, lost: 0 });
  rmSync(ballast);
  expect(await way.settled('file')).toMatchObject({ delivered: 2_000, lost: 0 });
  expect(readLines(path).map(({ message }) => message)).toEqual(makeEvents(2_000).map(({ message }) => message));
});

it('stdout on a full disk: a line that was cut off is terminated, and written again as a whole', async () => {
  await using disk = await smallDisk();
  const [path, ballast] = [join(disk.path, 'stdout'), join(disk.path, 'ballast')];
  writeFileSync(ballast, Buffer.alloc(900 * 1024));
  const fd = openSync(path, 'a');
  const sink = new StdoutSink(fd);
  const left = makeLines(1_000);
  const write = () =>
    sink.write(
      [...left],
      { delivered: (events) => void left.splice(0, events.length), rejected: () => undefined },
      new AbortController().signal,
    );
  await expect(write()).rejects.toThrow(/ENOSPC/);
  await expect(write()).rejects.toThrow(/ENOSPC/);
  expect(left.length).toBeLessThan(1_000);
  rmSync(ballast);
  await write();
  closeSync(fd);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  const whole = lines.filter((line) => line.endsWith('}'));
  expect(lines.length - whole.length).toBeLessThanOrEqual(1);
  expect(whole.map((line) => (JSON.parse(line) as EventRecord).message)).toEqual(messages(makeLines(1_000)));
});

it('a full disk under the spool: events wait in memory, and are delivered all the same', async () => {
  await using disk = await smallDisk();
  await using server = await OtlpServer.start();
  await server.down();
  const spool = { directory: join(disk.path, 'spool'), size: '64MiB' };
  const otlp = { url: server.url, batch: { age: '50ms' }, queue: 5_000, spool };
  await using way = await EventWay.open({ otlp });
  for (let batch = 0; batch < 100; batch++) {
    way.publish(makeEvents(100, {}, batch * 100));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await eventually(() => expect(way.logged.join('\n')).toMatch(/cannot write the spool: ENOSPC/));
  await server.up();
  const ledger = await way.settled('otlp');
  expect(ledger.delivered + ledger.lost).toBe(10_000);
  expect(ledger.dropped).toEqual(ledger.lost === 0 ? {} : { queue_full: ledger.lost });
  expect(server.records).toHaveLength(ledger.delivered);
});

it('a failing sink keeps no event from the others', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'sinks-'));
  const path = join(folder.path, 'events.jsonl');
  await using server = await OtlpServer.start();
  await using way = await EventWay.open({
    file: { path },
    otlp: { url: server.url, batch: { age: '50ms' } },
    loki: { url: 'http://127.0.0.1:1', batch: { age: '50ms' } },
  });
  way.publish(makeEvents(300));
  expect(await way.settled('file')).toMatchObject({ delivered: 300, lost: 0 });
  expect(await way.settled('otlp')).toMatchObject({ delivered: 300, lost: 0 });
  expect(way.ledger('loki')).toMatchObject({ delivered: 0, pending: 300, lost: 0 });
  await way.apply({ file: { path } });
  expect(way.ledger('loki')).toMatchObject({ pending: 0, dropped: { shutdown: 300 } });
  way.publish(makeEvents(10, {}, 300));
  await way.apply({ file: { path }, otlp: { url: server.url, batch: { age: '50ms' } } });
  way.publish(makeEvents(10, {}, 310));
  expect(await way.settled('otlp')).toMatchObject({ delivered: 310, dropped: { not_configured: 10 } });
  await way.settled('file');
  expect(readLines(path)).toHaveLength(320);
});

/** Returns the number of events in the files of a spool. */
function spooled(directory: string): number {
  const files = readdirSync(directory).filter((name) => name.endsWith('.jsonl'));
  return files.reduce((sum, name) => sum + readFileSync(join(directory, name), 'utf8').split('\n').length - 1, 0);
}

it('a spool that is configured, moved and removed while events wait: each event is accounted for', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'sinks-'));
  await using server = await OtlpServer.start();
  await server.down();
  const otlp = (spool?: string) => ({
    otlp: {
      url: server.url,
      batch: { age: '50ms' },
      ...(spool === undefined ? {} : { spool: { directory: join(folder.path, spool) } }),
    },
  });
  await using way = await EventWay.open(otlp());
  way.publish(makeEvents(100));
  // Events that wait in memory are moved to the new spool.
  await way.apply(otlp('one'));
  way.publish(makeEvents(100, {}, 100));
  expect(way.ledger('otlp')).toMatchObject({ pending: 200, lost: 0 });
  // After a change of the directory, events remain in the old spool until it is configured again.
  await eventually(() => expect(spooled(join(folder.path, 'one'))).toBe(200));
  await way.apply(otlp('two'));
  way.publish(makeEvents(100, {}, 200));
  expect(way.ledger('otlp')).toMatchObject({ pending: 100, dropped: { left_in_spool: 200 } });
  await eventually(() => expect(spooled(join(folder.path, 'two'))).toBe(100));
  await way.apply(otlp('one'));
  expect(way.ledger('otlp')).toMatchObject({ pending: 200, recovered: 200, dropped: { left_in_spool: 300 } });
  await server.up();
  expect(await way.settled('otlp')).toMatchObject({
    published: 300,
    recovered: 200,
    delivered: 200,
    lost: 300,
  });
  expect(new Set(server.records.map(({ body }) => body)).size).toBe(200);
});

it('otlp: whole records, with the time to the nanosecond', async () => {
  await using server = await OtlpServer.start();
  await using way = await EventWay.open({
    otlp: { url: server.url, headers: { 'x-key': '7' }, batch: { age: '50ms' } },
  });
  const [event] = makeEvents(1, {
    namespace: 'shop',
    pod: null,
    length: 60,
    stack: ['a', 'b'],
    peer: { kind: 'pod', namespace: 'shop', name: 'db-0', workload: 'db', ip: '10.0.0.2' },
  });
  way.publish(event === undefined ? [] : [event]);
  await way.settled('otlp');
  expect(server.records).toEqual([
    {
      time: '1767225600000000000',
      severity: 'warning',
      body: 'event 0',
      resource: { 'service.name': 'netsonde', 'host.name': 'n' },
      attributes: {
        type: 'packet_drop',
        probe: 'packetloss',
        netns: '1',
        namespace: 'shop',
        length: 60,
        stack: ['a', 'b'],
        peer: { kind: 'pod', namespace: 'shop', name: 'db-0', workload: 'db', ip: '10.0.0.2' },
      },
    },
  ]);
  expect(server.headers[0]).toMatchObject({ 'content-encoding': 'gzip', 'x-key': '7' });
});

it('otlp: records that a collector leaves out of an accepted batch are counted', async () => {
  await using server = await OtlpServer.start();
  server.leaveOut = (body) => /event [37]$/.test(String(body));
  await using way = await EventWay.open({ otlp: { url: server.url, batch: { age: '50ms' } } });
  way.publish(makeEvents(10));
  expect(await way.settled('otlp')).toMatchObject({ delivered: 8, dropped: { rejected: 2 } });
  expect(server.records).toHaveLength(8);
  expect(way.status('otlp')).toMatchObject({ state: 'running', rejected: { why: 'it rejected 2 records: too odd' } });
});

it.each([
  ['answers 503', { status: 503 }, /it returned 503/],
  ['asks for patience', { status: 429, headers: { 'retry-after': '1' } }, /it returned 429/],
  ['answers 401', { status: 401, text: 'who are you' }, /it returned 401: who are you/],
  ['answers 500', { status: 500, text: 'oh no' }, /it returned 500: oh no/],
] as const)('otlp: a collector that %s loses nothing', async (_, fault, reason) => {
  await using server = await OtlpServer.start();
  await using way = await EventWay.open({ otlp: { url: server.url, timeout: '60s', batch: { age: '50ms' } } });
  server.fault = fault;
  way.publish(makeEvents(500));
  if (reason !== undefined) await eventually(() => expect(way.status('otlp')?.reason).toMatch(reason));
  server.fault = undefined;
  expect(await way.settled('otlp')).toMatchObject({ delivered: 500, lost: 0 });
  expect(server.records).toHaveLength(500);
});

it('otlp: a collector that is down, and one that refuses an event', async () => {
  await using server = await OtlpServer.start();
  await using way = await EventWay.open({ otlp: { url: server.url, timeout: '60s', batch: { age: '50ms' } } });
  await server.down();
  way.publish(makeEvents(100));
  await eventually(() =>
    expect(way.status('otlp')).toMatchObject({ state: 'failed', reason: expect.stringMatching(/ECONNREFUSED/) }),
  );
  await server.up();
  await way.settled('otlp');
  server.refuse = (message) => message === 'event 142';
  way.publish(makeEvents(100, {}, 100));
  expect(await way.settled('otlp')).toMatchObject({ delivered: 199, dropped: { rejected: 1 } });
  expect(way.status('otlp')).toMatchObject({ state: 'running', rejected: { why: 'it returned 400: bad record' } });
});
