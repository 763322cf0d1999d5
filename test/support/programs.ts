import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

/** Programs that scripts/setup --test installs only if it may install packages or can reach a mirror. */
const PROGRAMS = {
  promtool: () => existsSync(join(CACHE, 'promtool')) || isInPath('promtool'),
  clang: () => isInPath('clang') && isInPath('llvm-strip'),
  // Its package depends on libpcap.
  tcpdump: () => isInPath('tcpdump'),
  dnsperf: () => isInPath('dnsperf'),
  dig: () => isInPath('dig'),
  go: () => isInPath('go') && existsSync('/usr/share/gocode/src/github.com/Masterminds/sprig'),
} as const;

function isInPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

/**
 * Returns whether to skip tests that need this program, because a user's machine may lack it. If `CI` is set, the tests
 * are not skipped and fail instead, because skipped tests would go unnoticed there.
 */
export function lacks(program: keyof typeof PROGRAMS): boolean {
  return process.env['CI'] === undefined && !PROGRAMS[program]();
}
