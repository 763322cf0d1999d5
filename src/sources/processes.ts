import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';

/** Processes of one owner: a Pod, a container, or a network namespace that belongs to neither. */
export interface ProcessGroup {
  /** Identifies the owner. Stays the same during the owner's lifetime. */
  readonly key: string;
  /** Network namespaces of the owner, usually one. */
  readonly netns: readonly NetnsId[];
  /** Process IDs, not including those of other threads. A process is in at most one group. */
  readonly pids: readonly number[];
}

export interface ProcessList {
  /** One group for each owner except the node. */
  readonly groups: readonly ProcessGroup[];
  /** Reasons why some processes could not be attributed to an owner. */
  readonly degraded: readonly string[];
}

/** Attributes processes to their owners. */
export interface ProcessIndex {
  /** Returns the current groups, which are determined once per cycle. @throws if /proc cannot be listed */
  list(cycle: Cycle): Promise<ProcessList>;
}
