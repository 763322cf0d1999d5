import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** What is built is in dist/, beside the bundle; from the sources, which are in src/core, that is two folders up. */
const dist = basename(here) === 'dist' ? here : join(here, '..', '..', 'dist');

/** Where the compiled BPF objects are. */
export const OBJECTS = join(dist, 'bpf');

/** A file of the built page, or undefined where there is none. @param name without folder */
export async function readPageFile(name: string): Promise<Buffer | undefined> {
  try {
    return await readFile(join(dist, 'web', name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The agent's version, by its package.json. */
export function readVersion(): string {
  const text = readFileSync(join(dist, '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
