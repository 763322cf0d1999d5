import { statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isGone, listDirectory } from '#sources/procfs/read.ts';

/** statfs(2) type of a namespace file (include/uapi/linux/magic.h). */
const NSFS_MAGIC = 0x6e736673;

/**
 * Returns the network namespaces that `ip netns add` and container runtimes have mounted in a directory: names by inode
 * number. Files that are not mounts are remnants from before a reboot or a crash, and are skipped.
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
