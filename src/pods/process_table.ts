import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { TaskDetails, TaskList } from '#sources/bpf/task_list.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseStat } from '#sources/procfs/stat.ts';
import { type ContainerRef, ownerOfFolders } from './cgroup.ts';
import { readContainer, scanProcesses, TICKS_PER_SECOND } from './processes.ts';

/** Maximum number of processes to examine per namespace. The oldest process is nearly always among the first ones. */
export const PROCESSES_MAX = 32;

export interface ProcessFacts {
  readonly pid: number;
  readonly comm: string;
  /** Start of the process in seconds after boot. */
  readonly startSeconds: number;
}

export interface ProcessInfo extends ProcessFacts {
  /** Returns the Pod or container of the process, as derived from its cgroups. */
  readonly container: () => ContainerRef | undefined;
}

/** A network namespace and its processes. */
export interface NetnsProcesses {
  /** Cookie of the namespace; undefined if the reader cannot determine it. */
  readonly id: NetnsId | undefined;
  readonly inum: number;
  readonly pids: readonly number[];
}

/** Processes of the machine at one moment. Process IDs are those in the agent's /proc. */
export interface ProcessTable {
  readonly namespaces: readonly NetnsProcesses[];
  /** Number of processes whose namespace cannot be read. This requires CAP_SYS_PTRACE for processes of other users. */
  readonly unreadable: number;
  /**
   * Returns a process if it is one of the first `PROCESSES_MAX` of its namespace, or if it is in the node's namespace
   * and belongs to a Pod or container. Returns undefined for other processes.
   */
  info(pid: number): ProcessInfo | undefined;
}

/**
 * Reads all processes from /proc. This takes about 10 µs per process, and yields to the event loop in between. @throws
 * if /proc cannot be read
 */
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
 * Reads the process list that a BPF walk returns.
 * @param node the node's namespace; if undefined, the namespace of process 1 is used
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
