import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Clock } from '#core/clock.ts';
import { Files } from '#files/files.ts';
import { sh } from '../../test/support/command.ts';
import { eventually } from '../../test/support/oracle.ts';
import { DOCUMENT_BYTES_MAX, type FileContent, FileWatcher, type FileWatcherOptions, readContent } from './watch.ts';

let directory: string;
let seen: FileContent[];
let warnings: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'watch-'));
  seen = [];
  warnings = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const files = new Files();
/** A clock whose sleeps return immediately, so a changed file counts as complete at once. */
const AT_ONCE: Clock = { now: () => performance.now(), sleep: async () => undefined };

function watching(path: string, initial: FileContent, more: Partial<FileWatcherOptions> = {}): FileWatcher {
  return new FileWatcher({
    path,
    initial,
    changed: (content) => seen.push(content),
    files,
    warn: (message) => warnings.push(message),
    clock: AT_ONCE,
    ...more,
  });
}

/** Updates a mounted ConfigMap as the kubelet does: writes a new directory, then replaces the link `..data`. */
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
  for (let generation = 1; generation <= 8; generation++) {
    swap(generation, `text ${generation}`);
    await eventually(() => expect(texts()).toHaveLength(generation));
    expect(texts().at(-1)).toBe(`text ${generation}`);
  }
});

it('sees a file that is written, replaced, removed and restored', async () => {
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

it('reports nothing when the text stays the same', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  using _watcher = watching(path, { text: 'one' });
  writeFileSync(path, 'one');
  writeFileSync(join(directory, 'other.yaml'), 'x');
  await wait(1_300);
  expect(seen).toEqual([]);
});

it('continues when the directory itself is replaced', async () => {
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

it('reads a file that is far too long only far enough to show that', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'x'.repeat(3 * DOCUMENT_BYTES_MAX));
  expect(await readContent(files, path)).toEqual({ text: 'x'.repeat(DOCUMENT_BYTES_MAX + 1) });
});

it('does not apply a file that is being written, in whatever pieces, before it is complete', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'whole');
  const pieces = ['a: 1\n', 'b: 2\n', 'c: 3\n'];
  // Each time the watcher waits for the file to be complete, the file changes again.
  const sleep = async () => {
    const next = pieces.shift();
    if (next !== undefined) appendFileSync(path, next);
  };
  using _watcher = watching(path, { text: 'whole' }, { clock: { ...AT_ONCE, sleep } });
  writeFileSync(path, '');
  await eventually(() => expect(texts()).toEqual(['a: 1\nb: 2\nc: 3\n']));
});

it('takes a file that never stops changing after a while, although it is not complete', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, '');
  let writes = 0;
  // A read may still be in progress after the test, when the directory is gone.
  const sleep = async (_ms: number, signal?: AbortSignal) => {
    if (!signal?.aborted) appendFileSync(path, `${++writes}\n`);
  };
  using _watcher = watching(path, { text: '' }, { clock: { ...AT_ONCE, sleep } });
  appendFileSync(path, 'x');
  await eventually(() => expect(texts().length).toBeGreaterThan(0));
  expect(texts()[0]).toMatch(/^x1\n2\n/);
});

it.each(['a pipe', 'a directory', 'a link to a device'])(
  'refuses %s and takes the good file that comes next',
  async (what) => {
    const path = join(directory, 'config.yaml');
    writeFileSync(path, 'one');
    using _watcher = watching(path, { text: 'one' });
    unlinkSync(path);
    if (what === 'a pipe') sh(`mkfifo ${path}`);
    else if (what === 'a directory') mkdirSync(path);
    else symlinkSync('/dev/zero', path);
    await eventually(() => {
      expect(seen.at(-1)).toEqual({ error: `--config: ${path} is ${what.replace(/.* to /, '')}: give a regular file` });
    });
    rmSync(path, { recursive: true });
    writeFileSync(path, 'two');
    await eventually(() => expect(texts().at(-1)).toBe('two'));
  },
);

it('takes the good file that comes after one that hung', async () => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  let hangs = true;
  class Hanging extends Files {
    override run<T>(given: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
      return super.run(given, (signal) => (hangs ? new Promise<T>(() => undefined) : work(signal)));
    }
  }
  using _watcher = watching(path, { text: 'one' }, { files: new Hanging({ deadlineMs: 10, againMs: 100 }) });
  writeFileSync(join(directory, 'other'), '');
  await eventually(() => expect(JSON.stringify(seen)).toContain('does not respond'));
  hangs = false;
  // Setting up the watch also hung, and may still be in progress. The write is therefore repeated until it is noticed.
  await eventually(() => {
    writeFileSync(path, 'two');
    expect(texts().at(-1)).toBe('two');
  });
});

it.each([
  ['EMFILE', 'max_user_instances'],
  ['ENOSPC', 'max_user_watches'],
])('polls the file itself where inotify is used up (%s), and says so once', async (code, limit) => {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, 'one');
  let isUsedUp = true;
  const watchFolder = ((...given: Parameters<typeof watch>) => {
    if (isUsedUp) throw Object.assign(new Error(code), { code });
    return watch(...given);
  }) as typeof watch;
  using watcher = watching(path, { text: 'one' }, { watch: watchFolder });
  for (const text of ['two', 'three']) {
    writeFileSync(path, text);
    await eventually(() => expect(texts().at(-1)).toBe(text));
  }
  expect(warnings).toEqual([expect.stringContaining(`raise fs.inotify.${limit}`)]);
  expect(watcher.notice).toBe(warnings[0]);
  isUsedUp = false;
  await eventually(() => expect(watcher.notice).toBe(''));
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
