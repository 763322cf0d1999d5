import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/**
 * Identifies Pods that share the node's namespace (hostNetwork) by the control groups of their sockets. The ID of a cgroup is that
 * of cgroup v2 (`kernfs_node::id`), which is the inode number of its directory.
 */
export interface HostPods {
  /**
   * Looks up the Pods of cgroups. Call it with all cgroups of a collection or of a batch of events, and wait for it before calling
   * `subjectOf`. Each cgroup is looked up once, and concurrent callers share a search.
   */
  find(cgroups: Iterable<Counter>): Promise<void>;
  /**
   * Returns the subject of samples and events of a cgroup's sockets in the node's namespace. Returns undefined if this is the node's
   * namespace itself, for the ID 0, and for a cgroup that was not looked up. Once a cgroup was looked up, the result does not change
   * while the Pod is shown.
   */
  subjectOf(cgroup: Counter): NetnsId | undefined;
  /** Number of cgroups that were not found, because they were removed before: their sockets count as the node's. */
  readonly missed: Counter;
  /** Why the sockets of some of these Pods count as the node's; empty if there is no reason. */
  readonly degraded: readonly string[];
}
