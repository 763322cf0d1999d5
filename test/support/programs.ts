import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

/** Programs that scripts/setup --test installs only if it is allowed to install packages or can reach a mirror. */
const PROGRAMS = {
  promtool: () => existsSync(join(CACHE, 'promtool')) || isInPath('promtool'),
  clang: () => isInPath('clang') && isInPath('llvm-strip'),
  go: () => isInPath('go') && existsSync('/usr/share/gocode/src/github.com/Masterminds/sprig'),
} as const;

function isInPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

/**
 * Returns whether tests that need this program are skipped. The machine of an ordinary user may lack the program. If
 * `CI` is set, these tests are never skipped, and fail instead, because nobody would notice skipped tests there.
 */
export function lacks(program: keyof typeof PROGRAMS): boolean {
  return process.env['CI'] === undefined && !PROGRAMS[program]();
}
