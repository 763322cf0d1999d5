import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseCounter } from './number.ts';

/**
 * Parses /proc/<pid>/io, which has one line per counter, such as `write_bytes: 4096`. The counters include all threads,
 * threads that have ended, and children that the process has waited for. Kernel: fs/proc/base.c, do_io_accounting().
 * Skips malformed lines.
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
