import { execFileSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { BpfError, BpfObject } from '../../lib/index.ts';

const EPERM = 1;
const ROOT = join(import.meta.dirname, '../..');

// Builds the addon and test objects if they are not up to date. The Makefile asks Node for paths, so it must use the
// same Node as the tests. Several test files may start at the same time. Only one of them builds, and the others wait.
execFileSync('flock', [ROOT, 'make', '-s', '-C', ROOT, 'build/bpf_napi.node', 'test-objects'], {
  env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH']}` },
  stdio: ['ignore', 'ignore', 'pipe'],
});

export const OBJECTS = join(ROOT, 'build/test');

export function objectPath(name: string): string {
  return join(OBJECTS, `${name}.bpf.o`);
}

/** Opens an object without loading it. Selects the given programs for loading. */
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

/** Returns whether map iterators can be loaded. Some kernels have them but refuse to load them. */
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
