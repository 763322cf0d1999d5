import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Files } from '#files/files.ts';
import type { StepOptions } from '#files/gate.ts';
import { sh } from '../../../test/support/command.ts';
import { makeLines, messages } from '../../../test/support/event_lines.ts';
import { parseSinks } from '../../../test/support/event_way.ts';
import { eventually } from '../../../test/support/oracle.ts';
import type { LaneRecord } from '../record.ts';
import { Unavailable } from '../sink.ts';
import { FileSink } from './file.ts';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-sink-'));
  path = join(folder, 'events.jsonl');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function open(
  more: object = {},
  now?: () => number,
): Promise<{ write(events: readonly LaneRecord[]): Promise<void> } & AsyncDisposable> {
  const { file } = parseSinks({ file: { path, ...more } });
  if (file === undefined) throw new Error('no file');
  const sink = new FileSink(file, new Files(), now);
  const receipt = { delivered: () => undefined, rejected: () => undefined };
  return {
    write: (events) => sink.write(events, receipt, new AbortController().signal),
    [Symbol.asyncDispose]: () => sink.close(),
  };
}

function read(name = path): string[] {
  return readFileSync(name, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { message: string }).message);
}

it('appends JSON lines to the existing content', async () => {
  const lines = makeLines(5);
  {
    await using sink = await open();
    await sink.write(lines.slice(0, 2));
    await sink.write(lines.slice(2, 4));
  }
  await using sink = await open();
  await sink.write(lines.slice(4));
  expect(read()).toEqual(messages(lines));
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

it('rotates a file that is large, and keeps as many as configured', async () => {
  await using sink = await open({ rotateBytes: '1KiB', keep: 2 });
  for (let batch = 0; batch < 5; batch++) await sink.write(makeLines(5, {}, batch * 5));
  expect(readdirSync(folder).sort()).toEqual(['events.jsonl', 'events.jsonl.1', 'events.jsonl.2']);
  expect([`${path}.2`, `${path}.1`, path].map((name) => read(name)[0])).toEqual(['event 10', 'event 15', 'event 20']);
});

it('keeps no old file if none is to be kept', async () => {
  await using sink = await open({ rotateBytes: '1KiB', keep: 0 });
  for (let batch = 0; batch < 3; batch++) await sink.write(makeLines(5, {}, batch * 5));
  expect(readdirSync(folder)).toEqual(['events.jsonl']);
  expect(read()[0]).toBe('event 10');
});

describe('a file that is old', () => {
  const HOUR_MS = 3_600_000;
  let nowMs: number;

  beforeEach(() => {
    nowMs = 1_000;
  });
  afterEach(() => void vi.useRealTimers());

  function setWallClock(byMs: number): void {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + byMs });
  }

  async function writeEarlier(): Promise<void> {
    await using sink = await open();
    await sink.write(makeLines(1));
  }

  it.each([
    ['stays as it is', 0],
    ['is set an hour back', -HOUR_MS],
    ['is set an hour forward', HOUR_MS],
  ])('is rotated at its age, and not before, where the wall clock %s', async (_, byMs) => {
    await using sink = await open({ rotateAge: '30m' }, () => nowMs);
    await sink.write(makeLines(1));
    setWallClock(byMs);
    nowMs += 1_790_000;
    await sink.write(makeLines(1, {}, 1));
    expect(readdirSync(folder)).toEqual(['events.jsonl']);
    nowMs += 11_000;
    await sink.write(makeLines(1, {}, 2));
    expect([read(`${path}.1`), read()]).toEqual([['event 0', 'event 1'], ['event 2']]);
  });

  it('has its age by the wall clock if an earlier run made it', async () => {
    await writeEarlier();
    setWallClock(HOUR_MS);
    await using sink = await open({ rotateAge: '30m' });
    await sink.write(makeLines(1, {}, 1));
    expect([read(`${path}.1`), read()]).toEqual([['event 0'], ['event 1']]);
  });

  it('is new if its time is in the future', async () => {
    await writeEarlier();
    setWallClock(-HOUR_MS);
    await using sink = await open({ rotateAge: '30m' }, () => nowMs);
    await sink.write(makeLines(1, {}, 1));
    nowMs += 1_801_000;
    await sink.write(makeLines(1, {}, 2));
    expect([read(`${path}.1`), read()]).toEqual([['event 0', 'event 1'], ['event 2']]);
  });
});

it('opens the file again when somebody else has rotated, removed or emptied it', async () => {
  await using sink = await open();
  await sink.write(makeLines(1));
  renameSync(path, `${path}.old`);
  await sink.write(makeLines(1, {}, 1));
  expect([read(`${path}.old`), read()]).toEqual([['event 0'], ['event 1']]);
  rmSync(path);
  await sink.write(makeLines(1, {}, 2));
  expect(read()).toEqual(['event 2']);
  truncateSync(path, 0);
  await sink.write(makeLines(1, {}, 3));
  expect(read()).toEqual(['event 3']);
});

it('says why it cannot write, and writes once it can', async () => {
  const blocked = join(folder, 'folder');
  path = join(blocked, 'events.jsonl');
  writeFileSync(blocked, '');
  await using sink = await open();
  await expect(sink.write(makeLines(1))).rejects.toThrow(Unavailable);
  await expect(sink.write(makeLines(1))).rejects.toThrow(/EEXIST|ENOTDIR/);
  rmSync(blocked);
  await sink.write(makeLines(1));
  expect(read()).toEqual(['event 0']);
  rmSync(path);
  mkdirSync(path);
  await expect(sink.write(makeLines(1, {}, 1))).rejects.toThrow(/is a directory: give a regular file/);
});

it.each(['a pipe', 'a directory', 'a device'])('refuses %s, and names the option', async (what) => {
  if (what === 'a pipe') sh(`mkfifo ${path}`);
  else if (what === 'a directory') mkdirSync(path);
  else symlinkSync('/dev/full', path);
  await using sink = await open();
  await expect(sink.write(makeLines(1))).rejects.toThrow(`sinks.file.path: ${path} is ${what}: give a regular file`);
  rmSync(path, { recursive: true });
  await sink.write(makeLines(1));
  expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(2);
});

it('a record that a hanging disk writes in the end is there once', async () => {
  let stopped: PromiseWithResolvers<void> | undefined;
  class Hanging extends Files {
    override run<T>(given: string, work: (signal: AbortSignal) => Promise<T>, options?: StepOptions): Promise<T> {
      return super.run(
        given,
        async (signal) => {
          await stopped?.promise;
          return work(signal);
        },
        options,
      );
    }
  }
  const { file } = parseSinks({ file: { path } });
  const sink = new FileSink(file as NonNullable<typeof file>, new Hanging({ deadlineMs: 300 }));
  const receipt = { delivered: () => undefined, rejected: () => undefined };
  const write = (records: readonly LaneRecord[]) => sink.write(records, receipt, new AbortController().signal);
  await write(makeLines(1));
  stopped = Promise.withResolvers();
  await expect(write(makeLines(1, {}, 1))).rejects.toThrow('does not respond');
  await expect(write(makeLines(1, {}, 1))).rejects.toThrow('does not respond');
  stopped.resolve();
  stopped = undefined;
  await eventually(() => write(makeLines(1, {}, 1)));
  await sink.close();
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  expect(lines).toEqual(makeLines(2).map(({ json }) => json));
});
