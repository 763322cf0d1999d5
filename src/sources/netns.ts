import type { NetnsId } from '#core/netns.ts';

/** A network namespace that belongs to somebody. */
export interface NetnsEntry {
  readonly id: NetnsId;
  /** Inode number; may be another namespace's once this one is dead. */
  readonly inum: number;
  /** The namespace that the node itself and its hostNetwork Pods are in. */
  readonly isNode: boolean;
}

/** The network namespaces of this machine, as sources and probes see them. */
export interface NetnsIndex {
  snapshot(): readonly NetnsEntry[];
  /** The namespace of the node itself; undefined until the first scan. */
  readonly node: NetnsEntry | undefined;
  /** Whether the namespace is alive and nobody's: nothing is shown of it, and a process makes thousands of them. */
  isNobodys(id: NetnsId): boolean;
  /** Why some namespaces, though they may be Pods', are not seen; undefined where all are. */
  readonly visibilityGap: string | undefined;
  /** Directory of a process that is in the namespace now; undefined where none is left. */
  locate(entry: NetnsEntry): string | undefined;
  /** Where the namespace is mounted, if it is. */
  mountOf(entry: NetnsEntry): string | undefined;
  /**
   * Calls back every few seconds: what is kept for a namespace that is dead for so long is to be dropped. Until
   * disposed.
   */
  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable;
}
