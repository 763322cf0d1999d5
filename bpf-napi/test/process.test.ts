import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { tryLock } from '../lib/index.ts';

const CHILD = join(import.meta.dirname, 'support/process_child.ts');

it('locks a directory for one open file, even within the same process', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'lock-'));
  const first = await open(folder.path);
  await using second = await open(folder.path);
  expect([await tryLock(first.fd), await tryLock(first.fd), await tryLock(second.fd)]).toEqual([true, true, false]);
  await first.close();
  expect(await tryLock(second.fd)).toBe(true);
});

it('the lock of a process is released when it is killed', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'lock-'));
  await using ours = await open(folder.path);
  const child = spawn(process.execPath, [CHILD, 'lock', folder.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  expect(await tryLock(ours.fd)).toBe(false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await tryLock(ours.fd)).toBe(true);
});

it('refuses an invalid descriptor', async () => {
  await expect(tryLock(1_000_000)).rejects.toMatchObject({ code: 'LOCK', errno: 9 });
});

it('ends the process although threads of the pool hang', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'exit-'));
  await promisify(execFile)('mkfifo', [join(folder.path, 'pipe')]);
  const child = await promisify(execFile)(process.execPath, [CHILD, 'exit', join(folder.path, 'pipe')], {
    timeout: 60_000,
  });
  expect(child).toEqual({ stdout: 'before\n', stderr: '' });
});
