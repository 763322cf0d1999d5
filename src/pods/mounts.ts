import { statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isGone, listDirectory } from '#sources/procfs/read.ts';

/** statfs type of a namespace file; kernel: include/uapi/linux/magic.h. */
const NSFS_MAGIC = 0x6e736673;

/**
 * Returns the names of the network namespaces that are mounted in a directory, as `ip netns add` and container runtimes do, by inode
 * number. A file that is not a mount was left there by a reboot or a crash.
 */
export function readNetnsMounts(directory: string): Map<number, readonly string[]> {
  const mounts = new Map<number, string[]>();
  for (const name of listDirectory(directory)) {
    const path = join(directory, name);
    try {
      if (statfsSync(path).type !== NSFS_MAGIC) continue;
      const { ino } = statSync(path);
      const names = mounts.get(ino);
      if (names === undefined) mounts.set(ino, [name]);
      else names.push(name);
    } catch (error) {
      if (!isGone(error) && (error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    }
  }
  return mounts;
}
