import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

/**
 * Identifies Pods that share the node's namespace (hostNetwork) by the cgroups of their sockets. A cgroup is identified
 * by its cgroup v2 ID (`kernfs_node::id`), the inode number of its directory.
 */
export interface HostPods {
  /**
   * Looks up the Pods of cgroups. Must be called with all cgroups of a collection or of a batch of events, and awaited,
   * before `subjectOf` is called. Each cgroup is looked up only once, and concurrent callers share a search.
   */
  find(cgroups: Iterable<Counter>): Promise<void>;
  /**
   * Returns the subject of samples and events for a socket in the node's namespace, given its cgroup. Returns undefined
   * if the subject is the node itself, if the ID is 0, or if the cgroup was not looked up. After a look-up, the result
   * does not change as long as the Pod is shown.
   */
  subjectOf(cgroup: Counter): NetnsId | undefined;
  /**
   * Number of cgroups that could not be found because they had already been removed. Their sockets count as the node's.
   */
  readonly missed: Counter;
  /** Reasons why some sockets of such Pods count as the node's; empty if there are none. */
  readonly degraded: readonly string[];
}

/**
 * Calls `handle` with the subject of a socket. For a socket in the node's namespace, this is the Pod of its cgroup;
 * otherwise, it is the namespace of the socket. If the cgroup is not known yet, it is looked up first.
 * @param cgroup ID of the socket's cgroup if the socket is in the node's namespace; otherwise 0
 */
export function withSubject(
  hostPods: Pick<HostPods, 'find' | 'subjectOf'>,
  { netns, cgroup }: { readonly netns: NetnsId; readonly cgroup: Counter },
  handle: (subject: NetnsId) => void,
): void {
  if (cgroup === 0) {
    handle(netns);
    return;
  }
  const resolved = () => handle(hostPods.subjectOf(cgroup) ?? netns);
  // If the look-up fails or does not find a Pod, the socket counts as the node's.
  void hostPods.find([cgroup]).then(resolved, resolved);
}
