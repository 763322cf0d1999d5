import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sh } from '../../test/support/command.ts';
import { eventually } from '../../test/support/oracle.ts';
import { DOCUMENT_BYTES_MAX, type FileContent, FileWatcher, readContent } from './watch.ts';

let directory: string;
let seen: FileContent[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'watch-'));
  seen = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function watching(path: string, initial: FileContent): FileWatcher {
  return new FileWatcher(path, initial, (content) => seen.push(content));
}

/** Writes a generation of a mounted ConfigMap the way the kubelet does: a new folder, then `..data` is swapped. */
function swap(generation: number, text: string): void {
  const name = `..2026_${generation}`;
  mkdirSync(join(directory, name));
  writeFileSync(join(directory, name, 'config.yaml'), text);
  symlinkSync(name, join(directory, '..data_tmp'));
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  if (generation > 0) rmSync(join(directory, `..2026_${generation - 1}`), { recursive: true });
}

function texts(): (string | undefined)[] {
  return seen.map((content) => ('text' in content ? content.text : undefined));
}

it('sees every swap of ..data, one after the other', async () => {
  swap(0, 'zero');
  symlinkSync('..data/config.yaml', join(directory, 'config.yaml'));
  using _watcher = watching(join(directory, 'config.yaml'), { text: 'zero' });
  for (let generation = 1; generation <= 20; generation++) {
    swap(generation, `text ${generation}`);
    await eventually(() => expect(texts()).toHaveLength(generation));
    expect(texts().at(-1)).toBe(`text ${generation}`);
  }
});

it('sees a file that is written, replaced, removed and there again', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  using _watcher = watching(path, { text: 'one' });
  writeFileSync(path, 'two');
  await eventually(() => expect(texts()).toEqual(['two']));
  writeFileSync(`${path}.new`, 'three');
  renameSync(`${path}.new`, path);
  await eventually(() => expect(texts()).toEqual(['two', 'three']));
  unlinkSync(path);
  await eventually(() => expect(texts()).toEqual(['two', 'three', undefined]));
  expect(seen[2]).toEqual({ error: expect.stringContaining('ENOENT') });
  writeFileSync(path, 'three');
  await eventually(() => expect(texts()).toEqual(['two', 'three', undefined, 'three']));
});

it('says nothing of what does not change the text', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  using _watcher = watching(path, { text: 'one' });
  writeFileSync(path, 'one');
  writeFileSync(join(directory, 'other.yaml'), 'x');
  await wait(1_300);
  expect(seen).toEqual([]);
});

it('goes on when the directory itself is replaced', async () => {
  const inner = join(directory, 'inner');
  const path = join(inner, 'config.yaml');
  mkdirSync(inner);
  writeFileSync(path, 'one');
  using _watcher = watching(path, { text: 'one' });
  renameSync(inner, join(directory, 'old'));
  mkdirSync(inner);
  writeFileSync(path, 'two');
  await eventually(() => expect(texts().at(-1)).toBe('two'));
  writeFileSync(path, 'three');
  await eventually(() => expect(texts().at(-1)).toBe('three'));
});

it('reads of a file that is far too long only so much as shows that', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'x'.repeat(3 * DOCUMENT_BYTES_MAX));
  expect(await readContent(path)).toEqual({ text: 'x'.repeat(DOCUMENT_BYTES_MAX + 1) });
});

it('ends with the newer text where the older one took long to read', async () => {
  const path = join(directory, 'config.yaml');
  const slow = join(directory, 'slow');
  sh(`mkfifo ${slow}`);
  symlinkSync('slow', path);
  using _watcher = watching(path, { text: 'zero' });
  writeFileSync(join(directory, 'other'), '');
  await wait(300);
  // The watcher waits for somebody who writes.
  writeFileSync(`${path}.new`, 'new');
  renameSync(`${path}.new`, path);
  await wait(300);
  writeFileSync(slow, 'old');
  await eventually(() => expect(texts().at(-1)).toBe('new'));
  await wait(300);
  expect(texts()).toEqual(['old', 'new']);
});

it('waits for a directory that is not there yet', async () => {
  const path = join(directory, 'later', 'config.yaml');
  using _watcher = watching(path, { error: 'none' });
  mkdirSync(join(directory, 'later'));
  writeFileSync(path, 'here');
  await eventually(() => expect(texts()).toContain('here'));
});

it('is silent once it is disposed', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  watching(path, { text: 'one' })[Symbol.dispose]();
  writeFileSync(path, 'two');
  await wait(200);
  expect(seen).toEqual([]);
});
