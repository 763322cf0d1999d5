import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

/** What scripts/setup --test brings only where it may install packages, or can reach a mirror. */
const PROGRAMS = {
  promtool: () => existsSync(join(CACHE, 'promtool')) || isInPath('promtool'),
  go: () => isInPath('go') && existsSync('/usr/share/gocode/src/github.com/Masterminds/sprig'),
} as const;

function isInPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

/**
 * Whether a test has to be skipped that needs this program: an ordinary user's machine may lack it. Where nobody looks at what was
 * skipped, with `CI` set, the test is to fail instead.
 */
export function lacks(program: keyof typeof PROGRAMS): boolean {
  return process.env['CI'] === undefined && !PROGRAMS[program]();
}
