import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import './support/objects.ts';

const ROOT = join(import.meta.dirname, '..');

it('the example of the README runs', async () => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  const example = /^```ts\n(.*?)^```$/ms.exec(readme)?.[1] ?? '';
  const parameters = ['--input-type=module-typescript', '--eval', example];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, parameters, { cwd: ROOT });
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toEqual([
    'programs were executed: true',
    'record 0 of 32 bytes',
    'record 1 of 32 bytes',
    'record 2 of 32 bytes',
    '',
  ]);
});
