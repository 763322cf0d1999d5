import { join } from 'node:path';
import { missingCapabilities } from '#sources/procfs/capabilities.ts';
import { readText } from '#sources/procfs/read.ts';

/** Modes of `hidepid` in which processes of others are missing, or their files cannot be read. */
const HIDING = new Set(['1', '2', '4', 'noaccess', 'invisible', 'ptraceable']);
const PTRACEABLE = new Set(['4', 'ptraceable']);

/** Why processes of other users are not in /proc, as that of Pods; undefined where they are. Man 5 proc, mount options. */
export function hidingOf(proc: string): string | undefined {
  if (missingCapabilities(['CAP_SYS_PTRACE']).length === 0) return undefined;
  const mounts = readText(join(proc, 'self/mountinfo')) ?? '';
  return describeHiding(mounts, proc, [process.getgid?.() ?? 0, ...(process.getgroups?.() ?? [])]);
}

/**
 * @param mountinfo man 5 proc, /proc/pid/mountinfo
 * @param groups of this process
 */
export function describeHiding(mountinfo: string, proc: string, groups: readonly number[]): string | undefined {
  // The last mount on a path is the one that is seen.
  const options = mountinfo.split('\n').reduce<string | undefined>((found, line) => {
    const [before = '', after = ''] = line.split(' - ');
    return before.split(' ')[4] === proc ? after.split(' ')[2] : found;
  }, undefined);
  const mode = /(?:^|,)hidepid=(\w+)/.exec(options ?? '')?.[1] ?? '';
  if (!HIDING.has(mode)) return undefined;
  const allowed = Number(/(?:^|,)gid=(\d+)/.exec(options ?? '')?.[1] ?? 0);
  if (!PTRACEABLE.has(mode) && groups.includes(allowed)) return undefined;
  return `${proc} is mounted with hidepid=${mode}: processes of other users, and Pods that only they tell of, are not seen; it takes CAP_SYS_PTRACE`;
}
