import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isGone, readText } from './read.ts';

/**
 * Returns the PID namespace of a process as named by its link, such as `pid:[4026531836]`. Returns an empty string if
 * the process is gone or a zombie.
 * @throws if the process may not read the link
 */
export function readPidNamespace(processDirectory: string): string {
  try {
    return readlinkSync(join(processDirectory, 'ns/pid'));
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

/**
 * Process IDs in all nested PID namespaces, starting with the PID namespace of the procfs (man 5 proc): `NSpid:   4711
 * 7`.
 */
const NUMBERS = /^NSpid:((?:\t\d+)+)$/m;

/**
 * Returns the number of levels from our own PID namespace up to the PID namespace of a procfs; 0 if they are the same.
 * Returns undefined if the procfs does not show our process.
 */
export function pidNamespaceLevels(proc: string): number | undefined {
  const text = readText(join(proc, 'self/status'));
  if (text === undefined) return undefined;
  const numbers = NUMBERS.exec(text)?.[1];
  // A kernel without PID namespaces has no such line.
  return numbers === undefined ? 0 : numbers.split('\t').length - 2;
}
