import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type NewProbe, newProbe } from '../../scripts/probe_skeleton.ts';
import { lacks } from '../support/programs.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const INDEX = 'src/probes/index.ts';

const read = (root: string) => (path: string) =>
  existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : undefined;

function made(name: string, more: Partial<NewProbe> = {}): ReadonlyMap<string, string> {
  return newProbe({ name, bpf: false, folder: false, ...more }, read(PROJECT));
}

describe('the name of a new probe', () => {
  it.each([
    ['Foo', 'snake_case'],
    ['foo-bar', 'snake_case'],
    ['foo__bar', 'snake_case'],
    ['1st', 'snake_case'],
    ['', 'snake_case'],
    ['a_name_that_is_much_too_long', '28 characters, and 24 are the most'],
    ['tcp', 'there is a probe of that name'],
    ['conntrack', 'there is a probe of that name'],
    ['net_softirq', 'another name of the probe softirq'],
    ['discovery', 'reserved'],
    ['delete', 'its variable would be called delete'],
    ['define_probe', 'its variable would be called defineProbe'],
  ])('is not %j', (name, fault) => {
    expect(() => made(name)).toThrow(fault);
  });

  it('is no file that is there', () => {
    const there = (path: string) => (path === 'test/scenarios/fresh.test.ts' ? '' : read(PROJECT)(path));
    expect(() => newProbe({ name: 'fresh', bpf: false, folder: false }, there)).toThrow(
      'test/scenarios/fresh.test.ts already exists',
    );
  });
});

describe('a new probe', () => {
  it('is four files, or three without a BPF program', () => {
    expect([...made('fresh', { bpf: true }).keys()]).toEqual([
      'src/bpf/probes/fresh.bpf.c',
      'src/probes/fresh.ts',
      'test/scenarios/fresh.test.ts',
      INDEX,
    ]);
    expect([...made('fresh').keys()]).toEqual(['src/probes/fresh.ts', 'test/scenarios/fresh.test.ts', INDEX]);
  });

  it('has its parser beside it in a directory', () => {
    expect([...made('fresh', { folder: true }).keys()]).toEqual([
      'src/probes/fresh/fresh.ts',
      'src/probes/fresh/fresh_rows.ts',
      'src/probes/fresh/fresh_rows.test.ts',
      'test/scenarios/fresh.test.ts',
      INDEX,
    ]);
  });

  it('is listed after the others, and nothing else of the list changes', () => {
    const before = read(PROJECT)(INDEX)?.split('\n') ?? [];
    const after = made('fresh_look').get(INDEX)?.split('\n') ?? [];
    const added = ["import { freshLook } from './fresh_look.ts';", '  freshLook,'];
    expect(after.filter((line) => !added.includes(line))).toEqual(before);
    expect(after.indexOf('  freshLook,')).toBe(after.findIndex((line) => line.startsWith('] as const')) - 1);
  });
});

/** Files and directories that the TypeScript compiler needs. */
const PARTS = ['package.json', 'tsconfig.json', 'src', 'test', 'bench', 'dashboards', 'scripts', 'dist/bpf'];

describe.skipIf(lacks('clang'))('the skeletons', () => {
  const root = mkdtempSync(join(tmpdir(), 'new-probe-'));
  const tests: string[] = [];
  const run = (...args: string[]) => spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

  beforeAll(() => {
    const options = { recursive: true, preserveTimestamps: true };
    for (const part of PARTS.filter((path) => existsSync(join(PROJECT, path))))
      cpSync(join(PROJECT, part), join(root, part), options);
    for (const part of ['node_modules', 'bpf-napi']) symlinkSync(join(PROJECT, part), join(root, part));
    for (const [name, bpf, folder] of [
      ['fresh_program', true, false],
      ['fresh_file', false, false],
      ['fresh_program_folder', true, true],
      ['fresh_file_folder', false, true],
    ] as const) {
      for (const [path, text] of newProbe({ name, bpf, folder }, read(root))) {
        if (path.endsWith('.test.ts')) tests.push(path);
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
    }
  });

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('compile, in C and in TypeScript', () => {
    const generated = run('scripts/generate_layouts.ts');
    expect(generated.stderr).toBe('');
    // All modules that may depend on the list of probes are checked, and of the tests only the new ones. Several threads
    // would need a third more CPU time.
    const config = {
      extends: './tsconfig.json',
      include: ['src', 'scripts', 'dashboards'],
      exclude: ['src/web/page', '**/*.test.ts'],
      files: tests,
    };
    writeFileSync(join(root, 'tsconfig.skeletons.json'), JSON.stringify(config));
    const options = ['--project', 'tsconfig.skeletons.json', '--noEmit', '--singleThreaded'];
    const compiled = run(join(PROJECT, 'node_modules/typescript/bin/tsc'), ...options);
    expect(compiled.stdout).toBe('');
    expect(compiled.status).toBe(0);
  });
});
