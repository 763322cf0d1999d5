import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readText } from './read.ts';

const directory = mkdtempSync(join(tmpdir(), 'read-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it('reads short files of /proc/sys after a file of megabytes', () => {
  const long = join(directory, 'long');
  writeFileSync(long, 'x'.repeat(3 * 1024 * 1024));
  expect(readText(long)).toHaveLength(3 * 1024 * 1024);
  expect(readText('/proc/sys/kernel/ostype')).toBe('Linux\n');
});

it('refuses a file that is longer than any of the kernel', () => {
  const long = join(directory, 'longer');
  writeFileSync(long, 'x'.repeat(5 * 1024 * 1024));
  expect(() => readText(long)).toThrow(`${long}: longer than 4194304 bytes`);
});

it('names the path in the error of a read', () => {
  expect(() => readText(directory)).toThrow(directory);
});

it('returns nothing for a missing file', () => {
  expect(readText(join(directory, 'missing'))).toBeUndefined();
});
