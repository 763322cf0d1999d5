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

/**
 * Passes on the subject of a socket: the Pod of its cgroup if the socket is in the node's namespace, and otherwise its
 * namespace. A cgroup that is not known yet is looked up first.
 * @param cgroup ID of the socket's cgroup in the node's namespace; 0 in other namespaces
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
  // Without a result, the socket counts as the node's.
  void hostPods.find([cgroup]).then(resolved, resolved);
}
