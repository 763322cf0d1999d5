import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/**
 * Pods that share the node's namespace (hostNetwork), by the control groups of their sockets. A cgroup is named by its ID in cgroup v2, as
 * `bpf_skb_cgroup_id()` returns it, which is the inode number of its directory.
 */
export interface HostPods {
  /**
   * Looks for the Pods of cgroups. To be awaited with all cgroups of a collection, or of a batch of events, before `subjectOf` is asked.
   * Each cgroup is looked for once; concurrent callers share a look.
   */
  find(cgroups: Iterable<Counter>): Promise<void>;
  /**
   * Returns the subject of samples and events of a cgroup's sockets in the node's namespace: the Pod. Returns undefined where the subject is
   * the node's namespace itself, for 0, and for a cgroup that was not looked for. Once a cgroup was looked for, the result stays the same while the
   * Pod is shown.
   */
  subjectOf(cgroup: Counter): NetnsId | undefined;
  /** Number of cgroups that were gone before they could be looked for: their sockets count as the node's. */
  readonly missed: Counter;
  /** Reasons why the sockets of some of these Pods count as the node's. */
  readonly degraded: readonly string[];
}
