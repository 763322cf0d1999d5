import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isGone, readText } from './read.ts';

/**
 * Returns the PID namespace of a process as its link names it, `pid:[4026531836]`; empty where the process is gone, or a zombie.
 * @throws where we may not read the link
 */
export function readPidNamespace(processDirectory: string): string {
  try {
    return readlinkSync(join(processDirectory, 'ns/pid'));
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

/** Numbers of a process, from the PID namespace of the procfs inwards, man 5 proc: `NSpid:	4711	7`. */
const NUMBERS = /^NSpid:((?:\t\d+)+)$/m;

/**
 * Returns how many levels the PID namespace of a procfs is above our own: 0 is our own. Undefined where the procfs does not show us.
 */
export function pidNamespaceLevels(proc: string): number | undefined {
  const text = readText(join(proc, 'self/status'));
  if (text === undefined) return undefined;
  const numbers = NUMBERS.exec(text)?.[1];
  // This kernel has no PID namespaces.
  return numbers === undefined ? 0 : numbers.split('\t').length - 2;
}
