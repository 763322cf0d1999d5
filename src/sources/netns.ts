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

/** A namespace that a Pod's or a container's process was seen in at once when it began. */
export interface NetnsBirth {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pid: number;
  /** When the process began, after boot. */
  readonly startSeconds: number;
  /** The innermost folders of its control group that may be a Pod's and a container's. */
  readonly podFolder: string;
  readonly containerFolder: string;
}

/** What was known of a namespace that is gone, or that nobody is left in. */
export interface NetnsDeparture {
  readonly id: NetnsId;
  /** Of entity: `pod`, `container` or `netns`. */
  readonly kind: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  /** Its name, as far as the namespaces themselves tell. */
  readonly name: string;
  /** When its oldest process began, after boot; undefined where there was none to be seen. */
  readonly startSeconds: number | undefined;
}

/** Who hears of births and deaths from the kernel. */
export interface NetnsWatcher {
  /** So long an entity is still shown after its death. */
  readonly retireMs: number;
  /** Called before each look at the machine: to tell what has been heard meanwhile. */
  beforeLook(): void;
  departed(departure: NetnsDeparture): void;
}

/** The namespaces of this machine, for who sees them come and go before a scan could. */
export interface NetnsLife {
  /** The one who watches; entities are not retired while there is none. */
  watch(watcher: NetnsWatcher): Disposable;
  born(birth: NetnsBirth): void;
  /** Returns whether the namespace is shown, or still is: its last counters are of interest. */
  died(id: NetnsId): boolean;
}
