import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** Folder of built files: dist/, beside the bundle; from the sources in src/core it is two folders up. */
const dist = basename(here) === 'dist' ? here : join(here, '..', '..', 'dist');

/** Folder of the compiled BPF objects. */
export const OBJECTS = join(dist, 'bpf');

/** Reads a file of the built page; undefined where there is none. @param name without folder */
export async function readPageFile(name: string): Promise<Buffer | undefined> {
  try {
    return await readFile(join(dist, 'web', name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns the agent's version from its package.json. */
export function readVersion(): string {
  const text = readFileSync(join(dist, '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
