import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { sh } from '../../test/support/command.ts';
import { makeLines, messages } from '../../test/support/event_lines.ts';
import { eventually } from '../../test/support/oracle.ts';
import { MEBIBYTE, SpoolAccount, segmentsIn, written } from '../../test/support/spool_account.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'damage-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function segment(): string {
  const [name] = segmentsIn(directory);
  if (name === undefined) throw new Error('the spool has no file');
  return join(directory, name);
}

function overwrite(path: string, at: number, text: string | Uint8Array): void {
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.from(text), 0, undefined, at);
  closeSync(file);
}

it('a second spool on the directory waits in memory and reports that, and gets the directory once the first is closed', async () => {
  const first = await SpoolAccount.open(directory);
  first.push(makeLines(20));
  await written(directory, 20);
  const second = await SpoolAccount.open(directory);
  expect(second.spool.failure).toContain(`${directory} is the spool of another sink or agent`);
  second.push(makeLines(32, {}, 20));
  // The first spool must not find the records of the second one.
  first.push(makeLines(5, {}, 52));
  expect(await second.drain()).toBeLessThan(10);
  expect(messages(second.delivered)).toEqual(messages(makeLines(32, {}, 20)));
  await first.drain();
  expect(first.delivered).toHaveLength(25);
  first.push(makeLines(3, {}, 60));
  await first.spool.close();
  await eventually(() => expect(second.spool.failure).toBe(''));
  await second.drain();
  expect(messages(second.delivered.slice(32))).toEqual(messages(makeLines(3, {}, 60)));
  expect(second.logged.filter((line) => line.startsWith('error'))).toHaveLength(1);
  await second.spool.close();
});

it('a foreign directory is left alone: records that cannot go into it are counted at the end', async () => {
  const first = await SpoolAccount.open(directory);
  const second = await SpoolAccount.open(directory);
  second.push(makeLines(4));
  await second.spool.close();
  second.check();
  expect(second.dropped).toEqual({ 'packetloss shutdown': 4 });
  await first.spool.close();
});

it('lines that somebody appends to a file in use change nothing', async () => {
  const account = await SpoolAccount.open(directory);
  account.push(makeLines(10));
  await written(directory, 10);
  appendFileSync(segment(), readFileSync(segment()));
  account.push(makeLines(5, {}, 10));
  await written(directory, 25);
  await account.drain();
  expect(messages(account.delivered)).toEqual(messages(makeLines(15)));
  expect(account.dropped).toEqual({});
  await account.spool.close();
});

it.each([
  ['a line end becomes a space', (text: string) => text.replace('\n', ' '), 13],
  ['the space before the JSON becomes a line end', (text: string) => text.replace(' {', '\n{'), 15],
  ['another space becomes a line end', (text: string) => text.replace('event 7', 'event\n7'), 14],
  ['the end is cut off', (text: string) => text.slice(0, -250), undefined],
  ['all is cut off', () => '', 0],
  ['it has other lines', () => 'null\n{}\n{"time":5}\n', 0],
  ['it is foreign', () => '\0'.repeat(5_000), 0],
] as const)('a file in use loses only its damaged part when %s', async (_, damage, delivered) => {
  const account = await SpoolAccount.open(directory);
  account.push(makeLines(15));
  await written(directory, 15);
  writeFileSync(segment(), damage(readFileSync(segment(), 'utf8')));
  expect(await account.drain()).toBeLessThan(20);
  if (delivered !== undefined) expect(account.delivered).toHaveLength(delivered);
  account.push(makeLines(3, { probe: 'tcpreset' }));
  await account.drain();
  expect(account.delivered.filter(({ probe }) => probe === 'tcpreset')).toHaveLength(3);
  await account.spool.close();
});

it.each(['null', '{}', '{"time":5}', '', '\0\0', 'event/1 packetloss {}', '{"probe":"packetloss"}'])(
  'a line %j is dropped alone at the start, with its cause',
  async (line) => {
    const first = await SpoolAccount.open(directory);
    first.push(makeLines(4));
    await first.spool.close();
    const text = readFileSync(segment(), 'utf8').split('\n');
    writeFileSync(segment(), [text[0], line, ...text.slice(1)].join('\n'));
    const account = await SpoolAccount.open(directory);
    account.check();
    await account.drain();
    expect(messages(account.delivered)).toEqual(messages(makeLines(4)));
    const probe = line.includes('packetloss') ? 'packetloss' : 'unknown';
    expect(account.dropped).toEqual({ [`${probe} spool_damaged`]: 1 });
    await account.spool.close();
  },
);

it.each(['99 0\n', '1 17\n', '1 999999\n', '9999999999999 0\n', '1 -5\n', 'x', '\n'.repeat(100)])(
  'nothing is lost with a position %j',
  async (position) => {
    const first = await SpoolAccount.open(directory);
    first.push(makeLines(6));
    await first.spool.close();
    writeFileSync(join(directory, 'position'), position);
    const account = await SpoolAccount.open(directory);
    account.push(makeLines(2, {}, 6));
    await account.drain();
    expect(messages(account.delivered)).toEqual(messages(makeLines(8)));
    await account.spool.close();
    const next = await SpoolAccount.open(directory);
    expect(next.spool.length).toBe(0);
    await next.spool.close();
  },
);

it('finds files again whatever their number', async () => {
  writeFileSync(join(directory, 'position'), '9999999999 0\n');
  const first = await SpoolAccount.open(directory);
  first.push(makeLines(5));
  await first.spool.close();
  expect(segmentsIn(directory)).toEqual(['10000000000.jsonl']);
  const next = await SpoolAccount.open(directory);
  await next.drain();
  expect(next.delivered).toHaveLength(5);
  await next.spool.close();
});

it('leaves alone anything but its own files: links, pipes, directories', async () => {
  const victim = join(directory, 'victim');
  const text = 'a line\nand no line end';
  writeFileSync(victim, text, { mode: 0o644 });
  symlinkSync(victim, join(directory, '0000000001.jsonl'));
  linkSync(victim, join(directory, '0000000002.jsonl'));
  mkdirSync(join(directory, '0000000003.jsonl'));
  sh(`mkfifo ${directory}/0000000004.jsonl`);
  symlinkSync(victim, join(directory, 'position'));
  symlinkSync(victim, join(directory, 'position.new'));
  const account = await SpoolAccount.open(directory);
  expect(account.logged.filter((line) => line.includes('a part of the spool is ignored'))).toHaveLength(4);
  account.push(makeLines(10));
  await account.drain();
  await account.spool.close();
  expect(account.delivered).toHaveLength(10);
  expect([readFileSync(victim, 'utf8'), statSync(victim).mode & 0o777]).toEqual([text, 0o644]);
  expect(account.dropped).toEqual({});
});

it('is readable for its owner only, even files of an earlier version', async () => {
  const inner = join(directory, 'a/b');
  mkdirSync(join(directory, 'a'), { mode: 0o755 });
  const first = await SpoolAccount.open(inner);
  first.push(makeLines(3));
  await first.deliver();
  await first.spool.close();
  const modes = () =>
    ['.', ...readdirSync(inner).sort()].map((name) => (statSync(join(inner, name)).mode & 0o777).toString(8));
  expect(modes()).toEqual(['700', '600', '600']);
  for (const name of readdirSync(inner)) chmodSync(join(inner, name), 0o644);
  const next = await SpoolAccount.open(inner);
  next.push(makeLines(1));
  await next.drain();
  await next.spool.close();
  expect(modes()).toEqual(['700', '600', '600']);
});

it('follows a directory that replaces its own', async () => {
  const account = await SpoolAccount.open(join(directory, 'spool'));
  account.push(makeLines(5));
  const file = () => readdirSync(join(directory, 'spool')).filter((name) => name.endsWith('.jsonl'));
  await eventually(() => expect(account.spool.length - file().length).toBe(4));
  await account.deliver();
  account.push(makeLines(4, {}, 5));
  await wait(50);
  renameSync(join(directory, 'spool'), join(directory, 'away'));
  account.push(makeLines(3, {}, 20));
  await account.drain();
  expect(account.delivered.map(({ json }) => json)).toEqual(
    expect.arrayContaining(makeLines(3, {}, 20).map(({ json }) => json)),
  );
  await account.spool.close();
});

it.skipIf(process.getuid?.() !== 0)('keeps to one file if the disk is full, and logs it once', async () => {
  sh(`mount -t tmpfs -o size=64k,mode=700 none ${directory}`);
  try {
    expect(() => writeFileSync(join(directory, 'ballast'), Buffer.alloc(MEBIBYTE))).toThrow('ENOSPC');
    const account = await SpoolAccount.open(directory, { size: MEBIBYTE });
    for (let round = 0; round < 4; round++) {
      account.push(makeLines(200, { message: 'x'.repeat(500) }, round * 200));
      await wait(5);
    }
    await eventually(() => expect(account.spool.failure).toContain('ENOSPC'));
    await wait(1_200);
    expect(segmentsIn(directory).length).toBeLessThanOrEqual(1);
    expect(account.logged).toHaveLength(1);
    await account.drain();
    expect(account.delivered).toHaveLength(800);
    rmSync(join(directory, 'ballast'));
    account.push(makeLines(5));
    await eventually(() => expect(account.spool.failure).toBe(''));
    await account.drain();
    await account.spool.close();
    expect(account.logged).toHaveLength(2);
  } finally {
    sh(`umount ${directory}`);
  }
});

/** Damage that is done to the files while the spool is closed. */
const DAMAGE = fc.oneof(
  fc.record({ way: fc.constant('flip'), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
  fc.record({ way: fc.constant('line ends'), at: fc.nat(), bytes: fc.constant(Buffer.from('\n')) }),
  fc.record({ way: fc.constant('no line ends'), at: fc.nat(), bytes: fc.constant(Buffer.from(' ')) }),
  fc.record({ way: fc.constant('cut'), at: fc.nat(), bytes: fc.constant(Buffer.alloc(0)) }),
  fc.record({ way: fc.constant('append'), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 400 }) }),
  fc.record({ way: fc.constant('double'), at: fc.nat(), bytes: fc.constant(Buffer.alloc(0)) }),
  fc.record({ way: fc.constant('replace'), at: fc.nat(), bytes: fc.uint8Array({ maxLength: 400 }) }),
  fc.record({ way: fc.constant('remove'), at: fc.nat(), bytes: fc.constant(Buffer.alloc(0)) }),
  fc.record({ way: fc.constant('position'), at: fc.nat({ max: 3 }), bytes: fc.uint8Array({ maxLength: 3 }) }),
);

function damage({ way, at, bytes }: { way: string; at: number; bytes: Uint8Array }): void {
  if (way === 'position') {
    writeFileSync(join(directory, 'position'), at === 0 ? bytes : `${at} ${bytes[0] ?? 0}\n`);
    return;
  }
  const names = segmentsIn(directory);
  const path = join(directory, names[at % Math.max(1, names.length)] ?? 'none');
  if (names.length === 0) return;
  const { size } = statSync(path);
  const place = size === 0 ? 0 : at % size;
  if (way === 'flip') overwrite(path, place, bytes);
  if (way === 'line ends' || way === 'no line ends') {
    const text = readFileSync(path, 'latin1');
    const next = text.indexOf(way === 'line ends' ? ' ' : '\n', place);
    if (next >= 0) overwrite(path, next, bytes);
  }
  if (way === 'cut') truncateSync(path, place);
  if (way === 'append') appendFileSync(path, bytes);
  if (way === 'double') appendFileSync(path, readFileSync(path));
  if (way === 'replace') {
    rmSync(path);
    writeFileSync(path, bytes);
  }
  if (way === 'remove') rmSync(path);
}

it('whatever happens to its files, it continues and ends, and the ledger balances', async () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant('push' as const), count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ what: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ what: fc.constant('reopen' as const), count: fc.constant(0) }),
    fc.record({ what: fc.constant('damage' as const), count: fc.constant(0), damage: DAMAGE }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
      rmSync(directory, { recursive: true, force: true });
      const files = new Files();
      let account = await SpoolAccount.open(directory, { files, size: MEBIBYTE });
      let pushed = 0;
      for (const one of steps) {
        if (one.what === 'push') {
          const probe = ['packetloss', 'tcpreset'][pushed % 2] as string;
          account.push(makeLines(one.count, { probe, message: 'ünï' }, pushed));
          pushed += one.count;
        } else if (one.what === 'deliver') {
          for (let count = 0; count < one.count; count++) await account.deliver();
        } else if (one.what === 'damage') damage(one.damage);
        else {
          await account.spool.close();
          account.check();
          account = await SpoolAccount.open(directory, { files, size: MEBIBYTE });
        }
        account.check();
      }
      const left = account.spool.length;
      expect(await account.drain()).toBeLessThanOrEqual(left + 5);
      account.push(makeLines(1, { probe: 'last' }));
      await account.drain();
      expect(account.delivered.at(-1)?.probe).toBe('last');
      await account.spool.close();
    }),
    { numRuns: 30 },
  );
});

it('a file that is longer than the spool may be is read only up to that size', async () => {
  const first = await SpoolAccount.open(directory);
  first.push(makeLines(3));
  await first.spool.close();
  const [path, { size }] = [segment(), statSync(segment())];
  truncateSync(path, 2 ** 40);
  const second = await SpoolAccount.open(directory, { size: 2 * MEBIBYTE });
  await second.drain();
  expect(messages(second.delivered)).toEqual(messages(makeLines(3)));
  expect(second.dropped).toEqual({ 'unknown spool_damaged': 1 });
  expect(second.logged).toContain(
    `warn: a part of the spool is lost: file 1 exceeds the size limit, ${2 ** 40 - size - MEBIBYTE} bytes were removed`,
  );
  await second.spool.close();
});
