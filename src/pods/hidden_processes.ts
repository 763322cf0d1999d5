import { join } from 'node:path';
import { missingCapabilities } from '#sources/procfs/capabilities.ts';
import { readText } from '#sources/procfs/read.ts';

/** Values of the mount option `hidepid` that hide the processes of other users, or the files of these processes. */
const HIDING = new Set(['1', '2', '4', 'noaccess', 'invisible', 'ptraceable']);
const PTRACEABLE = new Set(['4', 'ptraceable']);

/**
 * Returns the reason why /proc hides processes of other users, such as those of Pods; undefined if it shows them (man 5
 * proc, mount options).
 */
export function hidingOf(proc: string): string | undefined {
  if (missingCapabilities(['CAP_SYS_PTRACE']).length === 0) return undefined;
  const mounts = readText(join(proc, 'self/mountinfo')) ?? '';
  return describeHiding(mounts, proc, [process.getgid?.() ?? 0, ...(process.getgroups?.() ?? [])]);
}

/**
 * Returns the reason why `proc` hides processes of other users, given its mount options; undefined if it shows them.
 * @param mountinfo content of /proc/self/mountinfo (man 5 proc)
 * @param groups groups of this process
 */
export function describeHiding(mountinfo: string, proc: string, groups: readonly number[]): string | undefined {
  // If several file systems are mounted on a path, the last one is visible.
  const options = mountinfo.split('\n').reduce<string | undefined>((found, line) => {
    const [before = '', after = ''] = line.split(' - ');
    return before.split(' ')[4] === proc ? after.split(' ')[2] : found;
  }, undefined);
  const mode = /(?:^|,)hidepid=(\w+)/.exec(options ?? '')?.[1] ?? '';
  if (!HIDING.has(mode)) return undefined;
  const allowed = Number(/(?:^|,)gid=(\d+)/.exec(options ?? '')?.[1] ?? 0);
  if (!PTRACEABLE.has(mode) && groups.includes(allowed)) return undefined;
  return `${proc} is mounted with hidepid=${mode}, so Pods with only processes of other users cannot be found without CAP_SYS_PTRACE`;
}
