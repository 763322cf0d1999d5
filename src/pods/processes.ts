import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import { isGone, readText } from '#sources/procfs/read.ts';
import { parseStat } from '#sources/procfs/stat.ts';
import { type ContainerRef, parseCgroup } from './cgroup.ts';

/** USER_HZ, the time unit in /proc. It is the same on all supported architectures. */
export const TICKS_PER_SECOND = 100;

const NETNS_LINK = /^net:\[(\d+)\]$/;

export interface ProcessScan {
  /** Process IDs by inode number of their network namespace. */
  readonly byInum: ReadonlyMap<number, readonly number[]>;
  /** Number of processes whose namespace cannot be read. This requires CAP_SYS_PTRACE for processes of other users. */
  readonly unreadable: number;
}

/**
 * Reads the network namespace of every process. This takes about 10 µs per process, and yields to the event loop in
 * between.
 * @throws if /proc cannot be read
 */
export async function scanProcesses(proc: string, cycle: Cycle): Promise<ProcessScan> {
  const byInum = new Map<number, number[]>();
  let unreadable = 0;
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    const inum = readNetnsInum(join(proc, name));
    if (inum === 'unreadable') unreadable++;
    else if (inum !== undefined) {
      const pids = byInum.get(inum);
      if (pids === undefined) byInum.set(inum, [Number(name)]);
      else pids.push(Number(name));
    }
    await cycle.pause();
  }
  return { byInum, unreadable };
}

/** Returns the inode number of a process's network namespace; undefined if the process has ended or is a zombie. */
export function readNetnsInum(processDirectory: string): number | 'unreadable' | undefined {
  try {
    const inum = NETNS_LINK.exec(readlinkSync(join(processDirectory, 'ns/net')))?.[1];
    return inum === undefined ? undefined : Number(inum);
  } catch (error) {
    if (isGone(error)) return undefined;
    return 'unreadable';
  }
}

/** Whether the process ID still belongs to the process that started at this time (seconds after boot). */
export function isProcess(processDirectory: string, startSeconds: number): boolean {
  const stat = parseStat(readText(join(processDirectory, 'stat')) ?? '');
  return stat !== undefined && Math.abs(stat.startTime / TICKS_PER_SECOND - startSeconds) < 1.5 / TICKS_PER_SECOND;
}

/** Returns the Pod and container of a process, as derived from its cgroups. */
export function readContainer(proc: string, pid: number | 'self'): ContainerRef | undefined {
  const text = readText(join(proc, String(pid), 'cgroup'));
  return text === undefined ? undefined : parseCgroup(text);
}
