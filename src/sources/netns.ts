import type { NetnsId } from '#core/netns.ts';

/** A network namespace that has an owner. */
export interface NetnsEntry {
  readonly id: NetnsId;
  /** Inode number. The kernel may reuse it after this namespace is dead. */
  readonly inum: number;
  /** True for the namespace of the node itself and its hostNetwork Pods. */
  readonly isNode: boolean;
}

/** Network namespaces of this machine, for sources and probes. */
export interface NetnsIndex {
  snapshot(): readonly NetnsEntry[];
  /** Namespace of the node; undefined until the first scan. */
  readonly node: NetnsEntry | undefined;
  /**
   * Returns whether the namespace is alive and unowned. Unowned namespaces are not shown because a process may create
   * thousands of them.
   */
  isNobodys(id: NetnsId): boolean;
  /** Reason why some namespaces that may belong to Pods are not visible; undefined if all are visible. */
  readonly visibilityGap: string | undefined;
  /** Returns the /proc directory of a process in the namespace; undefined if there is none. */
  locate(entry: NetnsEntry): string | undefined;
  /** Returns the path where the namespace is mounted, if any. */
  mountOf(entry: NetnsEntry): string | undefined;
  /**
   * Calls the callback every few seconds until the result is disposed. The callback should remove data of namespaces
   * for which `isDead` returns true.
   */
  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable;
}
