import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';

/** The processes of one owner: a Pod, a container, or a network namespace of neither. */
export interface ProcessGroup {
  /** Key of the owner, the same for as long as it lives. */
  readonly key: string;
  /** Network namespaces of the owner: nearly always one. */
  readonly netns: readonly NetnsId[];
  /** Processes, never threads. No process is in two groups. */
  readonly pids: readonly number[];
}

export interface ProcessList {
  /** Groups of all owners except the node itself. */
  readonly groups: readonly ProcessGroup[];
  /** Reasons why some processes could not be assigned. */
  readonly degraded: readonly string[];
}

/** Assigns processes to their owners. */
export interface ProcessIndex {
  /** Returns the current groups, looked up once a cycle. @throws where /proc cannot be listed */
  list(cycle: Cycle): Promise<ProcessList>;
}
