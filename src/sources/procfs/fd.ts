import { readdirSync, readlinkSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isGone } from './read.ts';

/** File system type of procfs (statfs); kernel: include/uapi/linux/magic.h. */
const PROC_MAGIC = 0x9fa0;

/**
 * Matches a line of /proc/<pid>/limits (man 5 proc): `Max open files`, the soft limit, the hard limit and `files`, each
 * padded with spaces.
 */
const OPEN_FILES = /^Max open files +(\d{1,15}) +(?:\d+|unlimited) +files *\n/m;

/** Returns the soft limit on open descriptors (RLIMIT_NOFILE); undefined if it is unlimited or missing. */
export function parseOpenFilesLimit(text: string): number | undefined {
  const limit = OPEN_FILES.exec(text)?.[1];
  return limit === undefined ? undefined : Number(limit);
}

/**
 * Reads the open descriptors of processes from /proc/<pid>/fd. Methods return undefined if the process is gone, and
 * throw all other system errors.
 */
export class Descriptors {
  readonly #proc: string;
  readonly #isProcfs: boolean;

  constructor(proc: string) {
    this.#proc = proc;
    this.#isProcfs = statfsSync(proc).type === PROC_MAGIC;
  }

  /** Returns the number of descriptors. Lists the fd directory only if the kernel does not report its size. */
  count(process: string): number | undefined {
    try {
      const size = this.#sizeOf(process);
      return size > 0 ? size : this.list(process)?.length;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** Returns the number of descriptors of this process, excluding the one used for listing. */
  countOwn(): number {
    const own = join(this.#proc, 'self');
    const size = this.#sizeOf(own);
    return size > 0 ? size : pathsIn(join(own, 'fd')).length - 1;
  }

  /** Returns the paths of the process's open descriptors in /proc. */
  list(process: string): string[] | undefined {
    try {
      const paths = pathsIn(join(process, 'fd'));
      return paths.length > 0 ? paths : listOfThread(process);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  isSocket(path: string): boolean {
    try {
      return readlinkSync(path).startsWith('socket:[');
    } catch (error) {
      // The descriptor was closed after it was listed.
      if (isGone(error)) return false;
      throw error;
    }
  }

  /** Kernels before 6.2 report a size of 0 (kernel: fs/proc/fd.c, proc_fd_getattr()). */
  #sizeOf(process: string): number {
    return this.#isProcfs ? statSync(join(process, 'fd')).size : 0;
  }
}

function pathsIn(directory: string): string[] {
  return readdirSync(directory).map((name) => `${directory}/${name}`);
}

/**
 * Lists the descriptors through another thread of the process. If the main thread has ended, its fd directory is empty,
 * but those of the other threads are not.
 */
function listOfThread(process: string): string[] {
  for (const thread of readdirSync(join(process, 'task'))) {
    const paths = pathsIn(join(process, 'task', thread, 'fd'));
    if (paths.length > 0) return paths;
  }
  return [];
}
