import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RECORD_KINDS } from '#events/kinds.ts';
import { Files } from '#files/files.ts';
import { makeEvents, makeLines, messages } from '../../test/support/event_lines.ts';
import { eventually } from '../../test/support/oracle.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';
import type { LaneRecord } from './record.ts';
import { Spool, type SpoolOptions } from './spool.ts';

let directory: string;
let dropped: Record<string, number>;
let recovered: Record<string, number>;
let logged: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spool-'));
  dropped = {};
  recovered = {};
  logged = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const MEBIBYTE = 1024 * 1024;
const BATCH = { records: 100, bytes: MEBIBYTE };

function open(more: Partial<SpoolOptions> = {}): Promise<Spool> {
  return Spool.open({
    directory,
    size: 64 * MEBIBYTE,
    memory: { records: 10_000, bytes: 16 * MEBIBYTE },
    kinds: RECORD_KINDS,
    files: new Files(),
    dropped: ({ probe }, reason, count) => {
      dropped[`${probe} ${reason}`] = (dropped[`${probe} ${reason}`] ?? 0) + count;
    },
    recovered: ({ probe }, count) => {
      recovered[probe] = (recovered[probe] ?? 0) + count;
    },
    log: (_, message) => logged.push(message),
    ...more,
  });
}

/** Takes and delivers all records in the spool. */
async function drainAll(spool: Spool): Promise<LaneRecord[]> {
  const all: LaneRecord[] = [];
  while (spool.length > 0) {
    all.push(...(await spool.take(BATCH)));
    spool.settle([]);
  }
  return all;
}

const files = () => readdirSync(directory).filter((name) => name.endsWith('.jsonl'));
const total = (counts: Record<string, number>) => Object.values(counts).reduce((sum, count) => sum + count, 0);

it('returns records in order, and has nothing left then', async () => {
  const spool = await open();
  const lines = makeLines(1_234);
  spool.push(lines.slice(0, 700));
  spool.push(lines.slice(700));
  expect(spool.length).toBe(1_234);
  expect(await drainAll(spool)).toEqual(lines);
  expect([spool.length, spool.bytes]).toEqual([0, 0]);
  await spool.close();
  const next = await open();
  expect([next.length, recovered]).toEqual([0, {}]);
  await next.close();
});

it('returns lines that exceed the size of a batch one by one', async () => {
  const spool = await open();
  const lines = makeLines(5, { message: 'x'.repeat(5_000) });
  spool.push(lines);
  for (const line of lines) {
    expect(await spool.take({ records: 100, bytes: 100 })).toEqual([line]);
    spool.settle([]);
  }
  expect([spool.length, spool.bytes]).toEqual([0, 0]);
  await spool.close();
});

it('returns undelivered records again, before all others', async () => {
  const spool = await open();
  const lines = makeLines(250);
  spool.push(lines);
  const first = await spool.take(BATCH);
  spool.settle([...first.slice(3, 5), ...first.slice(90)]);
  expect(spool.length).toBe(250 - 88);
  expect(messages(await spool.take(BATCH))).toEqual(messages([...lines.slice(3, 5), ...lines.slice(90, 100)]));
  spool.settle([]);
  expect(messages(await drainAll(spool))).toEqual(messages(lines.slice(100)));
  await spool.close();
});

it('has the same records after the process is killed; a half-written line is cut off', async () => {
  const killed = await open();
  killed.push(makeLines(300));
  killed.push(makeLines(50, { probe: 'tcpreset' }, 300));
  await killed.take(BATCH);
  killed.settle([]);
  await killed.take(BATCH);
  await eventually(() => expect(existsSync(join(directory, 'position'))).toBe(true));
  const [file = ''] = files();
  appendFileSync(join(directory, file), '{"time":"2026-01-01T00:00:00.0000');
  // The copy has no lock, like the directory of a process that was killed.
  await using left = await mkdtempDisposable(join(tmpdir(), 'spool-'));
  cpSync(directory, left.path, { recursive: true });
  const spool = await open({ directory: left.path });
  expect(recovered).toEqual({ packetloss: 200, tcpreset: 50 });
  expect(spool.length).toBe(250);
  spool.push(makeLines(10, {}, 350));
  const all = await drainAll(spool);
  expect(messages(all)).toEqual(messages(makeLines(260, {}, 100)));
  expect([spool.bytes, dropped]).toEqual([0, {}]);
  await killed.close();
  await spool.close();
});

it('stays within its size: the oldest records are dropped and counted; delivered files are removed', async () => {
  const spool = await open({ size: MEBIBYTE });
  const lines = makeLines(2_000, { message: 'x'.repeat(1_000) });
  for (let at = 0; at < lines.length; at += 50) {
    spool.push(lines.slice(at, at + 50));
    await eventually(() => expect(files().length).toBeGreaterThan(0));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await eventually(() => expect(spool.length + total(dropped)).toBe(2_000));
  await eventually(() => {
    const bytes = files().reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
    expect(bytes).toBeLessThanOrEqual(MEBIBYTE);
  });
  // The first `take` waits until all records are on disk. Nothing is dropped afterwards.
  const first = await spool.take(BATCH);
  const left = spool.length;
  expect(left).toBeGreaterThan(600);
  spool.settle([]);
  expect(messages([...first, ...(await drainAll(spool))])).toEqual(messages(lines.slice(-left)));
  expect(dropped).toEqual({ 'packetloss spool_full': 2_000 - left });
  await eventually(() => expect(files().length).toBeLessThanOrEqual(1));
  await spool.close();
});

it('drops only the unreadable parts of damaged files', async () => {
  const spool = await open();
  spool.push(makeLines(30));
  await spool.close();
  const [file = ''] = files();
  const path = join(directory, file);
  const text = readFileSync(path, 'utf8').split('\n');
  text[3] = '{"time":"2026","probe":"tcpreset", half';
  text[7] = '\0\0\0';
  writeFileSync(path, text.join('\n'));
  const next = await open();
  expect(await drainAll(next)).toHaveLength(28);
  expect(dropped).toEqual({ 'tcpreset spool_damaged': 1, 'unknown spool_damaged': 1 });
  next.push(makeLines(5));
  await next.take({ records: 1, bytes: 1 });
  next.settle([]);
  rmSync(path);
  for (const name of files()) rmSync(join(directory, name));
  expect(await drainAll(next)).toEqual([]);
  expect(dropped['packetloss spool_damaged']).toBe(4);
  await next.close();
});

it('continues in memory while the disk takes nothing, within the limits of memory', async () => {
  rmSync(directory, { recursive: true });
  writeFileSync(directory, 'a file, not a directory');
  const spool = await open({ memory: { records: 100, bytes: MEBIBYTE } });
  expect(spool.failure).toMatch(/EEXIST|ENOTDIR/);
  const lines = makeLines(150);
  spool.push(lines);
  expect(dropped).toEqual({ 'packetloss queue_full': 50 });
  const batch = await spool.take({ records: 10, bytes: MEBIBYTE });
  expect(messages(batch)).toEqual(messages(lines.slice(50, 60)));
  spool.settle(batch.slice(5));
  expect(spool.length).toBe(95);
  rmSync(directory);
  await eventually(() => expect(spool.failure).toBe(''));
  await eventually(() => expect(files()).toHaveLength(1));
  expect(messages(await drainAll(spool))).toEqual(messages(lines.slice(55)));
  expect(logged).toEqual([expect.stringContaining('cannot write the spool'), 'the spool can be written again']);
  await spool.close();
});

it('reads files from before lines had a kind: an upgrade loses nothing', async () => {
  const events = makeEvents(30).map((event) => `${JSON.stringify(event)}\n`);
  const delivered = events.slice(0, 4).join('').length;
  writeFileSync(join(directory, '0000000003.jsonl'), events.slice(0, 20).join(''));
  writeFileSync(join(directory, '0000000004.jsonl'), events.slice(20).join(''));
  writeFileSync(join(directory, 'position'), `3 ${delivered}\n`);
  const spool = await open();
  expect(recovered).toEqual({ packetloss: 26 });
  spool.push(makeLines(5, {}, 30));
  expect(await drainAll(spool)).toEqual(makeLines(31, {}, 4));
  expect([spool.bytes, dropped]).toEqual([0, {}]);
  await spool.close();
});

it('keeps kinds apart, and reads lines of an earlier version of a kind', async () => {
  const kinds = [...RECORD_KINDS, REQUEST_KIND];
  const requests = makeRequests(10);
  const records = requests.map(REQUEST_KIND.toRecord);
  const old = requests
    .slice(0, 3)
    .map(({ verb, ...rest }) => `request/1 http ${JSON.stringify({ ...rest, method: verb })}\n`);
  writeFileSync(join(directory, '0000000001.jsonl'), old.join(''));
  const spool = await open({ kinds });
  spool.push(records.slice(3));
  spool.push(makeLines(4));
  await spool.close();
  const next = await open({ kinds });
  expect(recovered).toEqual({ http: 3 + 10, packetloss: 4 });
  const all = await drainAll(next);
  expect(all.map(({ kind }) => kind)).toEqual([...records, ...makeLines(4)].map(({ kind }) => kind));
  // Another version may write the keys of a line in a different order.
  expect(
    all.slice(0, 3).map(({ json, bytes, ...rest }) => ({
      ...rest,
      fields: JSON.parse(json),
      isExact: bytes === Buffer.byteLength(json),
    })),
  ).toEqual(
    records.slice(0, 3).map(({ json, bytes: _, ...rest }) => ({ ...rest, fields: JSON.parse(json), isExact: true })),
  );
  expect(all.slice(3)).toEqual([...records.slice(3), ...makeLines(4)]);
  expect([next.bytes, next.length, dropped]).toEqual([0, 0, {}]);
  await next.close();
});

it('counts lines that only another version of netsonde can read, and continues behind them', async () => {
  const [event] = makeEvents(1);
  const lines = [
    'trace/1 http {"bytes":7}',
    `event/2 packetloss ${JSON.stringify(event)}`,
    `event/1 packetloss ${JSON.stringify(event)}`,
  ];
  writeFileSync(join(directory, '0000000001.jsonl'), `${lines.join('\n')}\n`);
  const spool = await open();
  expect(recovered).toEqual({ http: 1, packetloss: 2 });
  expect(await drainAll(spool)).toEqual(makeLines(1));
  expect(dropped).toEqual({ 'http unknown_kind': 1, 'packetloss unknown_kind': 1 });
  expect([spool.bytes, spool.length]).toEqual([0, 0]);
  await spool.close();
});
