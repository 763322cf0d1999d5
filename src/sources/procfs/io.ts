import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseCounter } from './number.ts';

/**
 * Parses /proc/<pid>/io, which has a line such as `write_bytes: 4096` for each counter. Counters include all threads,
 * ended threads, and children that the process has waited for. Kernel: fs/proc/base.c, do_io_accounting(). Malformed
 * lines are skipped.
 */
export function parseProcessIo(text: string, malformed: Malformed): Map<string, Counter> {
  const counters = new Map<string, Counter>();
  for (const line of wholeLines(text, malformed)) {
    const [, name, digits] = /^([a-z_]+): (\d+)$/.exec(line) ?? [];
    const value = parseCounter(digits ?? '');
    if (name === undefined || value === undefined) malformed(shown(line));
    else counters.set(name, value);
  }
  return counters;
}
