import type { ContainerRef } from './cgroup.ts';
import { PROCESSES_MAX, type ProcessFacts, type ProcessInfo, type ProcessTable } from './process_table.ts';

/** Pod or container of a process, with the start of the process in seconds after boot. */
export interface Trace {
  readonly ref: ContainerRef;
  readonly startSeconds: number;
}

/** Returns the known processes among the first PROCESSES_MAX of a namespace, ordered by start time. */
export function oldestFirst(pids: readonly number[], table: Pick<ProcessTable, 'info'>): ProcessInfo[] {
  return pids
    .slice(0, PROCESSES_MAX)
    .map((pid) => table.info(pid))
    .filter((process) => process !== undefined)
    .sort((a, b) => a.startSeconds - b.startSeconds || a.pid - b.pid);
}

/** Returns the facts about a process that may be kept. The function `container` would keep the whole table in memory. */
export function withoutTable({ pid, comm, startSeconds }: ProcessInfo): ProcessFacts {
  return { pid, comm, startSeconds };
}

/** Returns each Pod and container with the start time of its oldest process. @param processes oldest first */
export function tracesOf(processes: readonly ProcessInfo[]): Trace[] {
  const traces = new Map<string, Trace>();
  for (const { container, startSeconds } of processes) {
    const ref = container();
    if (ref === undefined) continue;
    const key = `${ref.within} ${ref.podUid} ${ref.containerId}`;
    if (!traces.has(key)) traces.set(key, { ref, startSeconds });
  }
  return [...traces.values()];
}
