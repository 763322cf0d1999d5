import type { ContainerRef } from './cgroup.ts';
import { PROCESSES_MAX, type ProcessInfo, type ProcessTable } from './process_table.ts';

/** Whose a process is, and when it began, in seconds after boot. */
export interface Trace {
  readonly ref: ContainerRef;
  readonly startSeconds: number;
}

/** Processes of a namespace, as far as they are looked at. */
export function oldestFirst(pids: readonly number[], table: Pick<ProcessTable, 'info'>): ProcessInfo[] {
  return pids
    .slice(0, PROCESSES_MAX)
    .map((pid) => table.info(pid))
    .filter((process) => process !== undefined)
    .sort((a, b) => a.startSeconds - b.startSeconds || a.pid - b.pid);
}

/** Whose processes are, the oldest of each. */
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
