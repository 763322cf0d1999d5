import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * Directory of built files, which contains the bundle. When the agent runs from source, this module is in src/core, and
 * the directory is `../../dist` relative to it.
 */
const dist = basename(here) === 'dist' ? here : join(here, '..', '..', 'dist');

/** Directory of the compiled BPF objects. */
export const OBJECTS = join(dist, 'bpf');

/**
 * Reads a file of the built web page. Returns undefined if the file does not exist.
 * @param name file name without a directory
 */
export async function readPageFile(name: string): Promise<Buffer | undefined> {
  try {
    return await readFile(join(dist, 'web', name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns the version from package.json. */
export function readVersion(): string {
  const text = readFileSync(join(dist, '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
