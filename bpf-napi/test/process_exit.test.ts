import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { OBJECTS } from './support/objects.ts';

const CHILD = join(import.meta.dirname, 'support/exit_child.ts');

describe('a process that closes nothing ends quietly and with 0', () => {
  it.each([
    'with nothing left to do',
    'in a load',
    'in a load of an object that it has closed',
    'with a thread in a load',
  ])('%s', async (way) => {
    // Rejects if the child fails or is killed, which includes the timeout if a timer or handle keeps the child alive.
    const child = await promisify(execFile)(process.execPath, [CHILD, OBJECTS, way], { timeout: 60_000 });
    expect(child).toEqual({ stdout: '', stderr: '' });
  });
});
