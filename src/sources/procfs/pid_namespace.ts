import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isGone } from './read.ts';

/**
 * The PID namespace of a process as its link names it, `pid:[4026531836]`; empty where the process is gone, or a zombie.
 * @throws where we may not see it
 */
export function readPidNamespace(processDirectory: string): string {
  try {
    return readlinkSync(join(processDirectory, 'ns/pid'));
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}
