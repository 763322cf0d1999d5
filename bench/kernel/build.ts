import { execFileSync } from 'node:child_process';
import { arch } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('.', import.meta.url));
const INCLUDE = `-I/usr/include/${arch() === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;

/** Compiles a BPF program of bench/kernel into a folder. Returns the path of the object. */
export function buildBpf(source: string, folder: string): string {
  const object = join(folder, `${basename(source, '.c')}.o`);
  execFileSync('clang', ['-target', 'bpf', '-O2', '-g', INCLUDE, '-c', join(SOURCES, source), '-o', object]);
  return object;
}

/** Compiles a program of bench/kernel into a folder. Returns the path of the program. */
export function buildProgram(source: string, folder: string): string {
  const program = join(folder, basename(source, '.c'));
  execFileSync('gcc', ['-O2', '-o', program, join(SOURCES, source)]);
  return program;
}
