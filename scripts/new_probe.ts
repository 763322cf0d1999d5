import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { newProbe } from './probe_skeleton.ts';

/** `npm run new-probe NAME` writes the files of a working probe, as a starting point for its author. */

const USAGE = `usage: npm run new-probe NAME [-- --bpf] [-- --folder]

  NAME      snake_case: file, configuration key and label of the probe
  --bpf     a BPF program with a label and an event, instead of a file of /proc
  --folder  a directory of its own, for a probe with companion files, such as a parser`;

const ROOT = new URL('../', import.meta.url);

function write(path: string, text: string): void {
  const file = new URL(path, ROOT);
  mkdirSync(dirname(fileURLToPath(file)), { recursive: true });
  writeFileSync(file, text);
  process.stdout.write(`${path}\n`);
}

/** Formats the files, because line lengths and the order of imports depend on the probe's name. */
function format(paths: readonly string[]): void {
  const isC = (path: string) => path.endsWith('.c');
  const commands = [
    ['biome', 'check', '--write', '--log-level=error', ...paths.filter((path) => !isC(path))],
    ['clang-format', '-i', ...paths.filter(isC)],
  ];
  for (const [program = '', ...args] of commands) {
    if (!args.some((arg) => paths.includes(arg))) continue;
    const { status, error } = spawnSync(program, args, { cwd: fileURLToPath(ROOT), stdio: 'inherit' });
    if (error !== undefined) throw new Error(`${error.message}: scripts/setup --test installs ${program}`);
    if (status !== 0) throw new Error(`${program} failed with status ${status}`);
  }
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { bpf: { type: 'boolean', default: false }, folder: { type: 'boolean', default: false } },
  });
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0) throw new Error(USAGE);
  const files = newProbe({ name, ...values }, (path) => {
    const file = new URL(path, ROOT);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  });
  for (const [path, text] of files) write(path, text);
  format([...files.keys()]);
  process.stdout.write(
    'Now run `npm run generate` and `npm run golden`; docs/adding-a-probe.md says what to change.\n',
  );
}

try {
  main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
