import { execFileSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { BpfError, BpfObject } from '../../lib/index.ts';

const EPERM = 1;
const ROOT = join(import.meta.dirname, '../..');

// Does nothing where all is up to date. The Makefile asks Node for paths, and must ask the one that runs the tests.
execFileSync('make', ['-s', '-C', ROOT, 'build/bpf_napi.node', 'test-objects'], {
  env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH']}` },
  stdio: ['ignore', 'ignore', 'pipe'],
});

export const OBJECTS = join(ROOT, 'build/test');

export function objectPath(name: string): string {
  return join(OBJECTS, `${name}.bpf.o`);
}

/** Opened, with these programs chosen, not loaded. */
export async function openObject(name: string, programs: readonly string[]): Promise<BpfObject> {
  const object = await BpfObject.open(objectPath(name));
  object.choosePrograms(programs);
  return object;
}

export async function loadObject(name: string, programs: readonly string[]): Promise<BpfObject> {
  const object = await openObject(name, programs);
  await object.load();
  return object;
}

export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** Some kernels let nobody load an iterator over the entries of a map, though they have it. */
export async function canIterateMaps(): Promise<boolean> {
  using object = await openObject('iterators', ['map_entries']);
  try {
    await object.load();
    return true;
  } catch (error) {
    if (error instanceof BpfError && error.errno === EPERM) return false;
    throw error;
  }
}
