import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';

/** Entity that samples and events belong to. */
export interface Entity {
  readonly kind: EntityKind;
  readonly netns: NetnsId;
  /** Inode number of the namespace, as `ls -l /proc/<pid>/ns/net` shows it. */
  readonly inum: number;
  /** Label values. Both are empty for the node. */
  readonly namespace: string;
  readonly pod: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether its namespace is dead: its last values are shown, unless a live entity has the same labels. */
  readonly isRetired?: boolean;
}

/** Owner of a namespace, and processes that were in it at the last scan. */
export interface NetnsOwner {
  readonly entity: Entity;
  readonly pids: readonly number[];
}
