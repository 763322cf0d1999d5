import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Creates a directory for compiled modules, which is removed when this process exits. Tests start the same TypeScript
 * programs hundreds of times, and each start would otherwise spend two thirds of its CPU time on stripping types and
 * compiling.
 */
export function compileCache(): string {
  const folder = mkdtempSync(join(tmpdir(), 'netsonde-compiled-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
