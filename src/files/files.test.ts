import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sh } from '../../test/support/command.ts';
import { Files } from './files.ts';

let directory: string;
const files = new Files();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'files-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);

it('reads a regular file, even through links, and no more of it than requested', async () => {
  writeFileSync(at('file'), 'x'.repeat(200_000));
  symlinkSync('file', at('link'));
  expect(await files.readText(at('link'), 200_000)).toBe('x'.repeat(200_000));
  expect(await files.read(at('file'), 150_001)).toHaveLength(150_001);
  await expect(files.readText(at('file'), 199_999)).rejects.toThrow(`${at('file')} has more than 199999 bytes`);
  expect(await files.readText('/proc/self/comm', 100)).toMatch(/\n$/);
});

it('refuses anything but a regular file at once, and says what it is', async () => {
  sh(`mkfifo ${at('pipe')}`);
  symlinkSync('pipe', at('link'));
  mkdirSync(at('folder'));
  const server = createServer().listen(at('socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  for (const [path, what] of [
    [at('pipe'), 'a pipe'],
    [at('link'), 'a pipe'],
    [at('folder'), 'a directory'],
    [at('socket'), 'a socket'],
    ['/dev/zero', 'a device'],
  ] as const) {
    await expect(files.read(path, 10)).rejects.toThrow(`${path} is ${what}: give a regular file`);
  }
  await expect(files.read(at('none'), 10)).rejects.toThrow('ENOENT');
  await new Promise((resolve) => server.close(resolve));
});

it.skipIf(!existsSync('/proc/kmsg'))('does not wait for later data of a kernel file', async () => {
  await expect(files.read('/proc/kmsg', 2 ** 20)).rejects.toThrow(/blocks on read|EPERM|EACCES/);
});

it('replaces a file as a whole, and follows no link', async () => {
  writeFileSync(at('victim'), 'old');
  symlinkSync('victim', at('file'));
  symlinkSync('victim', at('file.new'));
  await files.replace(at('file'), 'new');
  expect([readFileSync(at('file'), 'utf8'), readFileSync(at('victim'), 'utf8')]).toEqual(['new', 'old']);
  expect(statSync(at('file')).mode & 0o777).toBe(0o600);
});
