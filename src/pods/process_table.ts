import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { TaskDetails, TaskList } from '#sources/bpf/task_list.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseStat } from '#sources/procfs/stat.ts';
import { type ContainerRef, ownerOfFolders } from './cgroup.ts';
import { readContainer, scanProcesses, TICKS_PER_SECOND } from './processes.ts';

/** Number of processes of a namespace that are looked at: the oldest is nearly always among the first. */
export const PROCESSES_MAX = 32;

export interface ProcessInfo {
  readonly pid: number;
  readonly comm: string;
  /** Start in seconds after boot. */
  readonly startSeconds: number;
  /** Returns the Pod or container that it runs in, by its cgroups. */
  readonly container: () => ContainerRef | undefined;
}

/** A network namespace, and the processes in it. */
export interface NetnsProcesses {
  /** Undefined where the reader does not know it. */
  readonly id: NetnsId | undefined;
  readonly inum: number;
  readonly pids: readonly number[];
}

/** The processes of the machine at one moment, as our /proc numbers them. */
export interface ProcessTable {
  readonly namespaces: readonly NetnsProcesses[];
  /** Number of processes whose namespace we may not see: that requires CAP_SYS_PTRACE for processes of other users. */
  readonly unreadable: number;
  /** Returns one of the first `PROCESSES_MAX` processes of a namespace, or one in the node's that has an owner; undefined where it is gone. */
  info(pid: number): ProcessInfo | undefined;
}

/** Reads the files of /proc: about 10 µs for each process, in slices. @throws where /proc itself cannot be read */
export async function readProcessFiles(proc: string, cycle: Cycle): Promise<ProcessTable> {
  const { byInum, unreadable } = await scanProcesses(proc, cycle);
  return {
    namespaces: [...byInum].map(([inum, pids]) => ({ id: undefined, inum, pids })),
    unreadable,
    info: (pid) => {
      const stat = parseStat(readText(join(proc, String(pid), 'stat')) ?? '');
      if (stat === undefined) return undefined;
      const { comm, startTime } = stat;
      return {
        pid,
        comm,
        startSeconds: startTime / TICKS_PER_SECOND,
        container: () => readContainer(proc, pid),
      };
    },
  };
}

/**
 * Reads the kernel's own list.
 * @param node the node's own namespace, where it is known; otherwise the namespace of process 1 is used
 */
export async function readProcessWalk(tasks: TaskList, node: NetnsId | undefined, cycle: Cycle): Promise<ProcessTable> {
  const namespaces = new Map<NetnsId, { id: NetnsId; inum: number; pids: number[] }>();
  const kept = new Map<number, TaskDetails>();
  let ofNode = node;
  await tasks.read(({ pid, netns, inum, isOwned, keep }) => {
    let namespace = namespaces.get(netns);
    if (namespace === undefined) {
      namespace = { id: netns, inum, pids: [] };
      namespaces.set(netns, namespace);
    }
    if (pid === 1) ofNode ??= netns;
    namespace.pids.push(pid);
    if (namespace.pids.length <= PROCESSES_MAX || (netns === ofNode && isOwned)) kept.set(pid, keep());
  }, cycle);
  return {
    namespaces: [...namespaces.values()],
    unreadable: 0,
    info: (pid) => {
      const details = kept.get(pid);
      if (details === undefined) return undefined;
      const { comm, startSeconds } = details;
      return { pid, comm, startSeconds, container: () => ownerOfFolders(details.folders) };
    },
  };
}
