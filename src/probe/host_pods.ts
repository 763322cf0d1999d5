import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/**
 * Identifies Pods that share the node's namespace (hostNetwork) by the cgroups of their sockets. A cgroup is identified
 * by its cgroup v2 ID (`kernfs_node::id`), which is the inode number of its directory.
 */
export interface HostPods {
  /**
   * Looks up the Pods of cgroups. Must be called with all cgroups of a collection or of a batch of events, and awaited,
   * before `subjectOf` is called. Each cgroup is looked up once, and concurrent callers share a search.
   */
  find(cgroups: Iterable<Counter>): Promise<void>;
  /**
   * Returns the subject of samples and events for sockets of a cgroup in the node's namespace. Returns undefined if the
   * subject is the node's namespace itself, if the ID is 0, or if the cgroup was not looked up. After a look-up, the
   * result does not change while the Pod is shown.
   */
  subjectOf(cgroup: Counter): NetnsId | undefined;
  /** Number of cgroups that were not found because they had already been removed. Their sockets count as the node's. */
  readonly missed: Counter;
  /** Reasons why the sockets of some of these Pods count as the node's; empty if there are none. */
  readonly degraded: readonly string[];
}
