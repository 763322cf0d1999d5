import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isGone, readText } from './read.ts';

/**
 * Returns the PID namespace of a process in the format of its link, such as `pid:[4026531836]`; an empty string if the
 * process is gone or a zombie.
 * @throws if reading the link is not permitted
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
 * Matches the process's IDs in nested PID namespaces, starting with the PID namespace of the procfs (man 5 proc):
 * `NSpid:\t4711\t7`.
 */
const NUMBERS = /^NSpid:((?:\t\d+)+)$/m;

/**
 * Returns the number of levels from this process's PID namespace up to that of a procfs; 0 if they are the same.
 * Returns undefined if this process is not visible in the procfs.
 */
export function pidNamespaceLevels(proc: string): number | undefined {
  const text = readText(join(proc, 'self/status'));
  if (text === undefined) return undefined;
  const numbers = NUMBERS.exec(text)?.[1];
  // The line is missing if the kernel does not support PID namespaces.
  return numbers === undefined ? 0 : numbers.split('\t').length - 2;
}
