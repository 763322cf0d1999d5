import type { ContainerRef } from './cgroup.ts';
import { PROCESSES_MAX, type ProcessInfo, type ProcessTable } from './process_table.ts';

/** Owner of a process, and its start in seconds after boot. */
export interface Trace {
  readonly ref: ContainerRef;
  readonly startSeconds: number;
}

/** Returns the processes of a namespace that are looked at, the oldest first. */
export function oldestFirst(pids: readonly number[], table: Pick<ProcessTable, 'info'>): ProcessInfo[] {
  return pids
    .slice(0, PROCESSES_MAX)
    .map((pid) => table.info(pid))
    .filter((process) => process !== undefined)
    .sort((a, b) => a.startSeconds - b.startSeconds || a.pid - b.pid);
}

/** Returns the owners of processes, each with its oldest process. */
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
