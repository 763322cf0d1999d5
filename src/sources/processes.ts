import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';

/** The processes of one owner: a Pod, a container, or a network namespace that is neither's. */
export interface ProcessGroup {
  /** Names the owner for as long as it lives. */
  readonly key: string;
  /** The owner's network namespaces: nearly always one. */
  readonly netns: readonly NetnsId[];
  /** Processes, never threads. None is in two groups. */
  readonly pids: readonly number[];
}

export interface ProcessList {
  /** Of every owner but the node itself. */
  readonly groups: readonly ProcessGroup[];
  /** What could not be told, and why. */
  readonly degraded: readonly string[];
}

/** Which processes belong to whom. */
export interface ProcessIndex {
  /** As it is now; looked up once in a cycle. @throws where /proc cannot be listed */
  list(cycle: Cycle): Promise<ProcessList>;
}
