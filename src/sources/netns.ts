import type { NetnsId } from '#core/netns.ts';

/** A network namespace that has an owner. */
export interface NetnsEntry {
  readonly id: NetnsId;
  /** Inode number. The kernel may reuse it once this namespace is dead. */
  readonly inum: number;
  /** True for the namespace of the node itself and its hostNetwork Pods. */
  readonly isNode: boolean;
}

/** Network namespaces of this machine, for sources and probes. */
export interface NetnsIndex {
  snapshot(): readonly NetnsEntry[];
  /** The node's namespace; undefined until the first scan. */
  readonly node: NetnsEntry | undefined;
  /**
   * Returns whether the namespace is alive and unowned. Unowned namespaces are not shown because any process could
   * create thousands of them.
   */
  isNobodys(id: NetnsId): boolean;
  /** Reason why some namespaces of Pods may not be visible; undefined if all are visible. */
  readonly visibilityGap: string | undefined;
  /** Returns the /proc directory of a process in the namespace; undefined if there is none. */
  locate(entry: NetnsEntry): string | undefined;
  /** Returns the path at which the namespace is mounted; undefined if it is not mounted. */
  mountOf(entry: NetnsEntry): string | undefined;
  /**
   * Registers a callback, which is called until the result is disposed: a few seconds after namespaces have died,
   * otherwise once a minute. It should remove the data of namespaces for which `isDead` returns true.
   */
  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable;
}
