import type { NetnsId } from '#core/netns.ts';

/** A network namespace that has an owner. */
export interface NetnsEntry {
  readonly id: NetnsId;
  /** Inode number, which the kernel may reuse once this namespace is dead. */
  readonly inum: number;
  /** Whether the node itself and its hostNetwork Pods are in the namespace. */
  readonly isNode: boolean;
}

/** The network namespaces of this machine, as sources and probes see them. */
export interface NetnsIndex {
  snapshot(): readonly NetnsEntry[];
  /** The namespace of the node itself; undefined until the first scan. */
  readonly node: NetnsEntry | undefined;
  /** Whether the namespace is alive and unowned: nothing is shown of it, and a process may make thousands of them. */
  isNobodys(id: NetnsId): boolean;
  /** Reason why some namespaces that may be Pods' are not seen; undefined where all are. */
  readonly visibilityGap: string | undefined;
  /** Directory of a process that is in the namespace now; undefined where there is none. */
  locate(entry: NetnsEntry): string | undefined;
  /** Path where the namespace is mounted, if it is. */
  mountOf(entry: NetnsEntry): string | undefined;
  /**
   * Calls back every few seconds, until disposed: data kept for a namespace that has been dead for long enough should then be
   * dropped.
   */
  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable;
}
