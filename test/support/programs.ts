import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

/** Programs that scripts/setup --test can provide only where it may install packages, or can reach a mirror. */
const PROGRAMS = {
  promtool: () => existsSync(join(CACHE, 'promtool')) || isInPath('promtool'),
  clang: () => isInPath('clang') && isInPath('llvm-strip'),
  go: () => isInPath('go') && existsSync('/usr/share/gocode/src/github.com/Masterminds/sprig'),
} as const;

function isInPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

/**
 * Whether a test that needs this program is skipped: an ordinary user's machine may lack it. Where nobody looks at
 * skipped tests, with `CI` set, the test must fail instead.
 */
export function lacks(program: keyof typeof PROGRAMS): boolean {
  return process.env['CI'] === undefined && !PROGRAMS[program]();
}
